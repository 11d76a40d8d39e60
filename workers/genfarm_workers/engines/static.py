"""The static decoder: whole batches through `generate`, for models that take no slots.

Rows of one padded prompt width share a batch, always of the full size, so
that their numbers do not depend on their mates either; but rows cannot join
a batch that runs, and it runs until its longest row ends. Knows tokens and
tensors; no text and no task.
"""

from collections.abc import Callable, Sequence

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from genfarm_workers.engines import Work
from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.kv import ceil_to
from genfarm_workers.engines.lanes import seen_mask
from genfarm_workers.engines.language import Language, pad_ids, tensor_of
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.sampler import GREEDY, Sampler
from genfarm_workers.engines.slots import PREFILL_STEP


class StaticDecoder:
    """Continuations in waiting; `advance` runs one batch of them to its end."""

    def __init__(self, language: Language, slots: int, tick: Tick = no_tick) -> None:
        self._language = language
        self._slots = slots
        self._tick = tick
        self.work = Work()
        self._waiting: list[Continuation] = []

    def free(self) -> int:
        return self._slots - len(self._waiting)

    def reach(self) -> int:
        """0: whom a row sits beside costs it nothing here, or is seen to elsewhere."""
        return 0

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]:
        """Hold the rows for the next `advance`; none is done yet."""
        self._waiting.extend(rows)
        return []

    def advance(self) -> list[Continuation]:
        """Run the oldest row and those of its prompt width; return them all."""
        if not self._waiting:
            return []
        width = _width(self._waiting[0])
        batch = [row for row in self._waiting if _width(row) == width]
        self._generate(batch, width)
        self._waiting = [row for row in self._waiting if row.finish_reason is None]
        return batch

    def drop(self, task_ids: set[str]) -> None:
        """Forget their rows; those of a batch that runs stand still from its next token on."""
        for row in self._waiting:
            if row.task_id in task_ids:
                row.finish_reason = "stop"
        self._waiting = [row for row in self._waiting if row.task_id not in task_ids]

    @torch.inference_mode()
    def _generate(self, batch: Sequence[Continuation], width: int) -> None:
        """Feed the batch's rows their tokens until every one is done."""
        prompts = [*(row.prompt_ids for row in batch), *[[0]] * (self._slots - len(batch))]
        masks = [pad_ids([1] * len(ids), width, left=True) for ids in prompts]
        device = self._language.device
        self._language.model.generate(
            tensor_of([pad_ids(ids, width, left=True) for ids in prompts], device),
            attention_mask=tensor_of(masks, device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max(row.params["max_new_tokens"] for row in batch),
                pad_token_id=0,
            ),
            logits_processor=LogitsProcessorList([RowChoice(batch, self._slots)]),
            stopping_criteria=StoppingCriteriaList([RowsDone(batch, self._count)]),
        )

    def _count(self, useful: int) -> None:
        """After each token of a batch: a sign of life, and the moment for a drop."""
        self.work.add(computed=self._slots, useful=useful)
        self._tick()


class RowChoice(LogitsProcessor):  # type: ignore[misc]
    """Leaves of each row's logits only the token that its own draw chooses."""

    def __init__(self, batch: Sequence[Continuation], slots: int) -> None:
        self._batch = batch
        self._draws = [*(row.draw() for row in batch), *[GREEDY] * (slots - len(batch))]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        sampler = Sampler(self._draws, str(scores.device))
        fillers = [0] * (len(scores) - len(self._batch))
        positions = [*(row.drawn for row in self._batch), *fillers]
        drawn = torch.tensor(positions, device=scores.device)
        seen = self._seen(input_ids, scores.shape[-1]) if sampler.penalises else None
        chosen = sampler.choose(scores, drawn, seen)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)

    def _seen(self, input_ids: torch.Tensor, vocabulary: int) -> torch.Tensor:
        """(B, V), of each row what `input_ids` holds behind its padding."""
        rows = []
        for place, tokens in enumerate(input_ids.tolist()):
            held = self._batch[place].columns if place < len(self._batch) else 0
            rows.append(seen_mask(tokens[len(tokens) - held :], vocabulary, str(input_ids.device)))
        return torch.cat(rows)


class RowsDone(StoppingCriteria):  # type: ignore[misc]
    """Hands every row its new token and says which rows are done."""

    def __init__(self, batch: Sequence[Continuation], count: Callable[[int], None]) -> None:
        self._batch = batch
        self._count = count

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        before = sum(row.drawn for row in self._batch)
        fillers = [True] * (len(input_ids) - len(self._batch))
        tokens = input_ids[: len(self._batch), -1].tolist()
        for row, token in zip(self._batch, tokens, strict=True):
            row.take(token)
        self._count(sum(row.drawn for row in self._batch) - before)
        done = [row.finish_reason is not None for row in self._batch]
        return torch.tensor([*done, *fillers], device=input_ids.device)


def _width(row: Continuation) -> int:
    return ceil_to(len(row.prompt_ids), PREFILL_STEP)
