"""The decoder of exported language models: every step computes the whole text again.

A file holds no cache, so a token costs as much as its text is long: for short
texts and small models, where a file that runs anywhere is worth that. Rows of
one width share a call, of the full size always, so that a row's numbers depend
on no other. Knows tokens and tensors; no text and no task.
"""

from collections.abc import Sequence
from itertools import groupby

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.kv import ceil_to
from genfarm_workers.engines.lanes import seen_mask
from genfarm_workers.engines.language import Language, pad_ids, tensor_of
from genfarm_workers.engines.sampler import GREEDY, Sampler
from genfarm_workers.engines.slots import PREFILL_STEP


class RecomputeDecoder:
    """One token for every row a step."""

    def __init__(self, language: Language, slots: int) -> None:
        self._language = language
        self._slots = slots
        self.work = Work()
        #: Each row with its tokens, the prompt's and its own.
        self._rows: list[tuple[Continuation, list[int]]] = []

    def free(self) -> int:
        return self._slots - len(self._rows)

    def reach(self) -> int:
        """0: whom a row sits beside costs it nothing."""
        return 0

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]:
        """Seat the rows; none is done yet."""
        self._rows += [(row, list(row.prompt_ids)) for row in rows]
        return []

    def advance(self) -> list[Continuation]:
        self._rows.sort(key=lambda held: self._width(held[1]))
        for width, held in groupby(self._rows, key=lambda held: self._width(held[1])):
            rows = list(held)
            for (row, ids), token in zip(rows, self._choose(rows, width), strict=True):
                ids.append(token)
                row.take(token)
            self.work.add(computed=self._slots, useful=len(rows))
        ended = [row for row, _ in self._rows if row.finish_reason is not None]
        self._rows = [held for held in self._rows if held[0].finish_reason is None]
        return ended

    def drop(self, task_ids: set[str]) -> None:
        self._rows = [held for held in self._rows if held[0].task_id not in task_ids]

    @torch.inference_mode()
    def _choose(self, rows: Sequence[tuple[Continuation, list[int]]], width: int) -> list[int]:
        """The next token of each of those rows."""
        device, free = self._language.device, self._slots - len(rows)
        texts = [*(ids for _, ids in rows), *[[0]] * free]
        padded = tensor_of([pad_ids(ids, width) for ids in texts], device)
        last = torch.tensor([len(ids) - 1 for ids in texts], device=device)
        logits = self._language.model.forward(padded)[torch.arange(self._slots), last]
        sampler = Sampler([*(row.draw() for row, _ in rows), *[GREEDY] * free], device)
        drawn = torch.tensor([*(row.drawn for row, _ in rows), *[0] * free], device=device)
        seen = None
        if sampler.penalises:
            seen = torch.cat([seen_mask(ids, logits.shape[-1], device) for ids in texts])
        found: list[int] = sampler.choose(logits, drawn, seen)[: len(rows)].tolist()
        return found

    def _width(self, ids: Sequence[int]) -> int:
        return min(ceil_to(len(ids), PREFILL_STEP), self._language.context)
