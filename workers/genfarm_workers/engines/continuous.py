"""The text engine on transformers' own continuous batching, for whom its kernels are faster.

Registry: `engine = "text-continuous"`. A thread of transformers' runs the
model; here its requests are made and its tokens are taken. Every parameter
is served, by our own sampler in its thread. What it cannot promise is said
at load: rows of all lengths share one call whose shape changes with them, so
in half precision a text may differ with its company. Knows no cache.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
)

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.engines import Work
from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.kv import ceil_to
from genfarm_workers.engines.lanes import seen_mask
from genfarm_workers.engines.language import Language
from genfarm_workers.engines.portable import ExportParts
from genfarm_workers.engines.sampler import GREEDY, Sampler
from genfarm_workers.engines.text import Decoder, TextEngine

logger = logging.getLogger(__name__)

#: Tokens per page of its cache; its own default is 256, which short texts leave empty.
_PAGE = 32
#: Tokens of one of its calls, prompts and next tokens together; not tuned.
_CALL_TOKENS = 512
#: Seconds that a step waits for a first token before it lets the loop look around.
_PATIENCE = 0.05


class ContinuousTextEngine(TextEngine):
    """The same tasks and outputs as those of the text engine."""

    _decoder: "ContinuousDecoder"

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        super().load()
        logger.warning(
            "model %s runs in transformers' continuous batching: in half precision the same seed "
            'may give another text in other company; engine = "text" gives the same',
            self._language.key,
        )

    def export_parts(self) -> ExportParts:
        raise ModelUnavailable(
            f"model {self._language.key!r}: transformers' continuous batching runs no file. Export "
            'the model from a key with engine = "text"'
        )

    def resize(self, rows: int) -> None:
        self.close()
        super().resize(rows)

    def close(self) -> None:
        # A load that failed has left none.
        if hasattr(self, "_decoder"):
            self._decoder.close()

    def _make_decoder(self) -> Decoder:
        return ContinuousDecoder(self._language, self.slots)


class ContinuousDecoder:
    """Continuations as requests to a manager that is built anew when it fails."""

    def __init__(self, language: Language, slots: int) -> None:
        self._language = language
        self._slots = slots
        #: By the name of their request.
        self._rows: dict[str, Continuation] = {}
        self._serial = 0
        self.work = Work()
        self._start()

    def free(self) -> int:
        return self._slots - len(self._rows)

    def reach(self) -> int:
        """0: whom a row sits beside costs it nothing here, or is seen to elsewhere."""
        return 0

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]:
        """Ask for the rows; none is done yet."""
        for row in rows:
            # Never a name twice: tokens of a request that was cancelled may still come.
            self._serial += 1
            name = f"{row.task_id}/{row.k}/{self._serial}"
            self._rows[name] = row
            self._manager.add_request(
                list(row.prompt_ids),
                name,
                max_new_tokens=row.params["max_new_tokens"],
                streaming=True,
                eos_token_id=sorted(row.eos_ids) or -1,
            )
        return []

    def advance(self) -> list[Continuation]:
        """Take what tokens there are; return the rows they ended.

        Raises RuntimeError for all rows where the thread has failed: whoever
        holds the tasks runs them again, apart.
        """
        done = []
        found = self._manager.get_result(timeout=_PATIENCE)
        while found is not None:
            if found.error is not None:
                self._restart(found.error)
            done += self._take(found.request_id, found.generated_tokens)
            found = None if self._is_quiet() else self._manager.get_result(timeout=0.0)
        if not done and not self._manager.is_running():
            self._restart(str(self._manager.background_thread_status.fatal_error))
        return done

    def drop(self, task_ids: set[str]) -> None:
        for name, row in list(self._rows.items()):
            if row.task_id in task_ids:
                self._manager.cancel_request(name)
                del self._rows[name]

    def close(self) -> None:
        """End the thread, if it runs, and whatever it is at."""
        if self._manager.is_running():
            self._manager.stop(block=True, hard_stop=True)

    def _take(self, name: str, tokens: Sequence[int]) -> list[Continuation]:
        row = self._rows.get(name)
        if row is None:
            return []
        before = row.drawn
        is_done = any(row.take(token) for token in tokens[before:])
        self.work.add(computed=len(tokens) - before, useful=row.drawn - before)
        if not is_done:
            return []
        del self._rows[name]
        if row.left:  # a stop string: it would go on
            self._manager.cancel_request(name)
        return [row]

    def _is_quiet(self) -> bool:
        return bool(self._manager.output_router.output_queue.empty())

    def _restart(self, reason: str) -> None:
        self._rows.clear()
        self.close()
        self._start()
        raise RuntimeError(f"transformers' continuous batching has stopped: {reason}")

    def _start(self) -> None:
        pages = self._slots * (ceil_to(self._language.context, _PAGE) // _PAGE)
        self._manager = self._language.model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=_PAGE,
                num_blocks=pages,
                max_batch_tokens=_CALL_TOKENS,
                max_requests_per_batch=self._slots,
                # The sampler below looks at the requests of each call from the host.
                use_cuda_graph=False,
                use_async_batching=False,
            ),
        )
        processors = self._manager.logit_processor
        processors.logits_processor.append(_SeededChoice(self._rows))
        processors.tensors_required += 1
        processors.do_processing = True
        self._manager.start()


class _SeededChoice(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
    """Leaves of each request's logits only the token that its own draw chooses."""

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012
    ignored_kwargs = ()

    def __init__(self, rows: dict[str, Continuation]) -> None:
        self._rows = rows
        self._states: list[Any] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
        """Before each call, in its thread: note which requests the call's rows are."""
        self._states = [request.state for request in requests_with_new_token]
        return torch.zeros(len(self._states), dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        rows = [self._rows.get(state.request_id) for state in self._states]
        # The offset counts this call's tokens too, and is right after an eviction as well.
        drawn = [
            state.position_offset - len(row.prompt_ids) if row else 0
            for state, row in zip(self._states, rows, strict=True)
        ]
        device = str(scores.device)
        sampler = Sampler([row.draw() if row else GREEDY for row in rows], device)
        logits = scores[: len(rows)]
        seen = self._seen(scores.shape[-1], device) if sampler.penalises else None
        chosen = sampler.choose(logits, torch.tensor(drawn, device=device), seen)
        found = scores.clone()
        found[: len(rows)] = torch.full_like(logits, -torch.inf).scatter(1, chosen[:, None], 0.0)
        return found

    def _seen(self, vocabulary: int, device: str) -> torch.Tensor:
        held = [[*state.initial_tokens, *state.generated_tokens] for state in self._states]
        return torch.cat([seen_mask(ids, vocabulary, device) for ids in held])
