"""Keys and values of all slots, and of the prompt that is being computed.

Every row's start at column 0 of its own slot, so a row's neighbours move
nothing of it. A prompt is computed in chunks beside the slots and seated when
it is whole. Knows tensors; no token, no text and no task.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

#: Columns that a decode step attends to come in multiples of this, so that few shapes exist.
WINDOW_STEP = 64

#: Keys and values of one layer, (1, heads, columns, width) each.
Pair = tuple[torch.Tensor, torch.Tensor]


def ceil_to(size: int, step: int) -> int:
    """The next multiple: shapes come in steps, so that few of them exist."""
    return -(-size // step) * step


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's, (B, heads, columns, width) each."""

    def __init__(self, slots: int, device: str) -> None:
        super().__init__()
        self._slots = slots
        self._every = torch.arange(slots, device=device)
        #: The prompt's chunks so far; None before its first.
        self.prompt: Pair | None = None
        #: (B,) column of each row's new token; None while a prompt is computed.
        self.positions: torch.Tensor | None = None
        self.window = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (
            states.new_zeros((self._slots, states.shape[1], 0, states.shape[3]))
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> Pair:
        if self.positions is not None:
            self.keys[self._every, :, self.positions] = key_states[:, :, 0]
            self.values[self._every, :, self.positions] = value_states[:, :, 0]
            return self.keys[:, :, : self.window], self.values[:, :, : self.window]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.prompt is None:
            # Always contiguous, as a chunk behind others is: the layout must not tell a
            # prefix that was computed from one that was kept.
            self.prompt = (key_states.contiguous(), value_states.contiguous())
        else:
            keys, values = self.prompt
            self.prompt = (
                torch.cat([keys, key_states], dim=2),
                torch.cat([values, value_states], dim=2),
            )
        return self.prompt

    def grow(self, columns: int) -> None:
        for name in ("keys", "values"):
            kept = getattr(self, name)
            grown = kept.new_zeros((*kept.shape[:2], columns, kept.shape[3]))
            grown[:, :, : kept.shape[2]] = kept
            setattr(self, name, grown)

    # The three below are asked for by the cache's own interface. The mask is always given,
    # so no model sizes one from them.
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.window, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class SlotCache:
    """All layers'. `states` is what a model takes as its cache."""

    def __init__(self, layers: int, slots: int, device: str, context: int) -> None:
        self._layers = [_SlotLayer(slots, device) for _ in range(layers)]
        self.states = Cache(layers=self._layers)
        self._most = ceil_to(context, WINDOW_STEP)
        self._capacity = 0
        self._has_moved = False
        #: Columns of each slot that may hold something else than zeros.
        self._written = [0] * slots

    def begin_prompt(self, prefix: Sequence[Pair] | None) -> None:
        """The next forwards are chunks of one prompt, which follow `prefix`, a pair per layer."""
        for place, layer in enumerate(self._layers):
            layer.prompt = prefix[place] if prefix else None
            layer.positions = None

    def chunk(self, start: int, end: int) -> list[Pair]:
        """Copies of the prompt's columns in that range, a pair per layer."""
        pairs = [layer.prompt for layer in self._layers if layer.prompt is not None]
        return [
            (keys[:, :, start:end].clone(), values[:, :, start:end].clone())
            for keys, values in pairs
        ]

    def seat_prompt(self, seats: Sequence[int], columns: int) -> None:
        """Copy the prompt's first columns to the seats, and let go of it.

        Zeros behind the prompt: a masked value weighs zero, but zero times the
        infinity that an overflowing neighbour left would be no number.
        """
        self.reserve(columns)
        for layer in self._layers:
            for kept, found in zip((layer.keys, layer.values), layer.prompt or (), strict=True):
                for seat in seats:
                    kept[seat, :, :columns] = found[0, :, :columns]
                    kept[seat, :, columns : self._written[seat]] = 0
            layer.prompt = None
        for seat in seats:
            self._written[seat] = columns

    def begin_decode(self, positions: torch.Tensor, window: int) -> None:
        """The next forward is a decode step that writes at `positions` and sees `window`."""
        for layer in self._layers:
            layer.positions, layer.window = positions, window

    def mark_written(self, columns: Sequence[int]) -> None:
        """Say how far decode steps have written in each slot."""
        self._written = [max(pair) for pair in zip(self._written, columns, strict=True)]

    def reserve(self, columns: int) -> None:
        """Have room for so many columns.

        Room doubles, because every growth copies what there is, and a step
        that was captured with the old tensors is lost.
        """
        if columns <= self._capacity:
            return
        wanted = max(ceil_to(columns, WINDOW_STEP), min(2 * self._capacity, self._most))
        self._capacity = wanted
        for layer in self._layers:
            layer.grow(wanted)
        self._has_moved = True

    def ask_moved(self) -> bool:
        """Whether the tensors are new ones since this was asked: a prompt needs room as well."""
        has_moved, self._has_moved = self._has_moved, False
        return has_moved
