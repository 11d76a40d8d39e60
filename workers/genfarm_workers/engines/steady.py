"""Layers made to give a row the same numbers whatever else is in the batch.

A library of matrix kernels picks one by the shape of the whole batch, and two
kernels may add up in a different order. Most layers come out the same to the
bit all the same; which do not is found out as they run: the first calls at a
shape are computed twice, for all pictures at once and for each apart. Where
the two differ, the layer is computed apart from then on, which is what the
picture's own pipeline would have done. On a CPU only a few small layers
differ (products of a time step, convolutions of one pixel, long sums in
bfloat16); a GPU would pay a launch for each picture, and keeps to one batch
size instead. Knows modules; no pipeline and no picture.
"""

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from genfarm_workers.engines.ensemble import Units

#: Numbers that must have come out the same before a layer is trusted at a shape. A rounding
#: that differs shows in a third of the numbers in float32, but seen in bfloat16 only in one of
#: some ten thousand.
_TRUSTED = 1 << 18
#: Pictures that a layer which differs in a whole batch is tried with instead.
_TOGETHER = (4, 3, 2)
_LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)

_Forward = Callable[[torch.Tensor], torch.Tensor]
_Compute = Callable[[], torch.Tensor]


class Steady:
    """Watches the layers of one module; a call through `launch` is steady."""

    def __init__(self, module: torch.nn.Module) -> None:
        #: Rows of each picture in the call that runs, and rows behind them that nobody asked for.
        self._units: Sequence[int] = ()
        self._padding = 0
        #: By layer, shape and how it was computed: numbers that agreed, None once one did not.
        self._agreed: dict[Hashable, int | None] = {}
        for place, layer in enumerate(module.modules()):
            if isinstance(layer, _LAYERS):
                # A module may have been watched before: what it computes is remembered, so that
                # watchers do not pile up.
                plain = vars(layer).setdefault("plain_forward", layer.forward)
                vars(layer)["forward"] = self._watched(place, plain)

    def launch(self, function: Callable[..., Any], args: Any, kwargs: Any, units: Units) -> Any:
        self._units, self._padding = units.rows, units.padding
        try:
            return function(*args, **kwargs)
        finally:
            self._units = ()

    def _watched(self, place: int, plain: _Forward) -> _Forward:
        def forward(rows: torch.Tensor) -> torch.Tensor:
            units = self._units
            if len(units) < 2 or rows.shape[0] != sum(units) + self._padding:
                return plain(rows)
            key = (place, rows.shape, rows.dtype, frozenset(units))
            return self._checked(key, lambda: plain(rows), lambda: self._apart(place, plain, rows))

        return forward

    def _checked(self, key: Hashable, fast: _Compute, sure: _Compute) -> torch.Tensor:
        """The fast way once it is trusted; until then both, and the sure way's answer."""
        agreed = self._agreed.setdefault(key, 0)
        if agreed is None:
            return sure()
        if agreed >= _TRUSTED:
            return fast()
        found = sure()
        self._agreed[key] = agreed + found.numel() if torch.equal(found, fast()) else None
        return found

    def _apart(self, place: int, plain: _Forward, rows: torch.Tensor) -> torch.Tensor:
        """Pictures of as many rows together, as far as that is as good as one at a time."""
        found, begin = [], 0
        for unit, alike in itertools.groupby(self._units):
            end = begin + unit * len(list(alike))
            found.append(self._alike(place, plain, rows[begin:end], unit))
            begin = end
        # The rows behind are copies of the last.
        return torch.cat([*found, *[found[-1][-1:]] * self._padding])

    def _alike(self, place: int, plain: _Forward, rows: torch.Tensor, unit: int) -> torch.Tensor:
        """Pictures of `unit` rows each."""
        number = len(rows) // unit
        for together in (number, *_TOGETHER):
            size = unit * together
            key = (place, rows.shape[1:], rows.dtype, unit, together)
            if 1 < together <= number and self._agreed.get(key, 0) is not None:
                whole = len(rows) - len(rows) % size
                first, rest = rows[:whole], rows[whole:]
                done = self._checked(key, _turns(plain, first, size), _turns(plain, first, unit))
                return torch.cat([done, _turns(plain, rest, unit)()]) if len(rest) else done
        return _turns(plain, rows, unit)()


def _turns(plain: _Forward, rows: torch.Tensor, size: int) -> _Compute:
    """So many rows at a time."""
    return lambda: torch.cat([plain(part) for part in torch.split(rows, size)])
