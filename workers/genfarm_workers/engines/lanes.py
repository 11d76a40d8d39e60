"""The rows of all slots as the device sees them, and the step that moves them on.

Everything a step needs lies in tensors that stay where they are, so several
steps can follow each other, and be captured and replayed, without the host
looking. The host fills them when rows come and go. Knows no text, no task
and no cache.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from genfarm_workers.engines.sampler import GREEDY, Draw, Sampler

#: (B,) tokens and the (B,) columns they stand at, to (B, V) logits.
Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Lane:
    """One row as the host hands it over."""

    #: Its last token, which the next step computes.
    token: int
    #: Where that token stands.
    column: int
    #: Tokens drawn by now, and how many it may still draw.
    drawn: int
    left: int
    draw: Draw


class Lanes:
    """Rows that step together; a row that is done, or a free slot, stands still."""

    def __init__(
        self, slots: int, device: str, eos_ids: Collection[int], *, steps: int, is_uniform: bool
    ) -> None:
        """`steps` are those between two looks of the host."""
        self._slots = slots
        self._device = device
        self._is_uniform = is_uniform
        self._state = torch.zeros((5, slots), dtype=torch.long, device=device)
        self._tokens, self._columns, self._drawn, self._left, self._live = self._state
        self._eos = torch.tensor(sorted(eos_ids), dtype=torch.long, device=device)
        self._chosen = torch.zeros((steps, slots), dtype=torch.long, device=device)
        self._seen: torch.Tensor | None = None
        #: The one sampler of each mode, whose tensors a captured step has learned.
        self._samplers: dict[tuple[bool, ...], Sampler] = {}
        self._sampler = Sampler([GREEDY] * slots, device, is_uniform=is_uniform)

    @property
    def mode(self) -> tuple[bool, ...]:
        return self._sampler.mode

    def fill(self, lanes: Sequence[Lane | None]) -> None:
        """Set every slot; None is free. One copy to the device."""
        rows = [
            (lane.token, lane.column, lane.drawn, lane.left, 1) if lane else (0,) * 5
            for lane in lanes
        ]
        self._state.copy_(torch.tensor(rows, dtype=torch.long).T)
        draws = [lane.draw if lane else GREEDY for lane in lanes]
        sampler = Sampler(draws, self._device, is_uniform=self._is_uniform)
        if self._is_uniform:
            self._samplers.setdefault(sampler.mode, sampler).adopt(sampler)
            sampler = self._samplers[sampler.mode]
        self._sampler = sampler

    def remember(self, seat: int, ids: Sequence[int], vocabulary: int) -> None:
        """Note the tokens that a row with a repetition penalty holds."""
        if self._seen is None:
            shape = (self._slots, vocabulary)
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self._device)
        self._seen[seat] = seen_mask(ids, vocabulary, self._device)[0]

    def run(self, forward: Forward, steps: int) -> torch.Tensor:
        """(steps, B) tokens drawn; those of a row after its end mean nothing."""
        for step in range(steps):
            logits = forward(self._tokens, self._columns)
            chosen = self._sampler.choose(logits, self._drawn, self._seen)
            self._chosen[step] = chosen
            self._move_on(chosen)
        return self._chosen[:steps]

    def _move_on(self, chosen: torch.Tensor) -> None:
        live = self._live
        self._tokens.copy_(torch.where(live > 0, chosen, self._tokens))
        self._columns += live
        self._drawn += live
        self._left -= live
        if self._seen is not None and self._sampler.penalises:
            self._seen.scatter_(1, self._tokens[:, None], True)
        is_over = self._left <= 0
        if len(self._eos):
            is_over = is_over | (self._tokens[:, None] == self._eos).any(dim=-1)
        live.masked_fill_(is_over, 0)


def seen_mask(ids: Sequence[int], vocabulary: int, device: str) -> torch.Tensor:
    """(1, vocabulary), true for the ids. A model may know ids that it cannot write."""
    held = torch.tensor([token for token in set(ids) if token < vocabulary], device=device)
    mask = torch.zeros((1, vocabulary), dtype=torch.bool, device=device)
    mask[0, held.long()] = True
    return mask
