"""The static decoder: whole batches through `generate`, for models that take no slots.

Rows of one padded prompt width share a batch, always of the full size, so
that their numbers do not depend on their mates either; but rows cannot join
a batch that runs, and it runs until its longest row ends. Knows tokens and
tensors; no text and no task.
"""

from collections.abc import Sequence

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.language import Language, ceil_to, pad_ids, tensor_of
from genfarm_workers.engines.sampler import GREEDY, choose_tokens
from genfarm_workers.engines.slots import PREFILL_STEP


class StaticDecoder:
    """Continuations in waiting; `advance` runs one batch of them to its end."""

    def __init__(self, language: Language, slots: int) -> None:
        self._language = language
        self._slots = slots
        self._waiting: list[Continuation] = []

    def free(self) -> int:
        return self._slots - len(self._waiting)

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
            logits_processor=LogitsProcessorList([_RowChoice(batch)]),
            stopping_criteria=StoppingCriteriaList([_RowsDone(batch)]),
        )


class _RowChoice(LogitsProcessor):  # type: ignore[misc]
    """Leaves of each row's logits only the token that its own draw chooses."""

    def __init__(self, batch: Sequence[Continuation]) -> None:
        self._batch = batch

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        fillers = [GREEDY] * (len(scores) - len(self._batch))
        draws = [row.next_draw() for row in self._batch] + fillers
        chosen = choose_tokens(scores, draws)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)


class _RowsDone(StoppingCriteria):  # type: ignore[misc]
    """Hands every row its new token and says which rows are done."""

    def __init__(self, batch: Sequence[Continuation]) -> None:
        self._batch = batch

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        fillers = [True] * (len(input_ids) - len(self._batch))
        tokens = input_ids[: len(self._batch), -1].tolist()
        done = [row.take(token) for row, token in zip(self._batch, tokens, strict=True)]
        return torch.tensor([*done, *fillers], device=input_ids.device)


def _width(row: Continuation) -> int:
    return ceil_to(len(row.prompt_ids), PREFILL_STEP)
