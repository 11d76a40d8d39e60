"""Calls of one module by several pictures, answered by one call of the module.

What differs from row to row is put one below the other: rows of tensors, and
a time step that was one number. Calls fit together when all else is equal.
Knows modules and tensors; no pipeline, no step and no task.
"""

import hashlib
import itertools
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.memory import free_memory, is_out_of_memory
from genfarm_workers.engines.solo import Call

logger = logging.getLogger(__name__)

#: Sizes of batches come in this many steps, so that few shapes exist.
_SIZES = 8
#: Names under which denoisers take time steps that the pipeline has already put in a row.
_TIMES = ("timestep", "timesteps")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One picture's call, ready to be put together with others."""

    call: Call
    rows: int
    #: Equal for calls that fit together.
    signature: Hashable
    #: Its leaves in order.
    leaves: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Units:
    """How the rows of a batch belong together."""

    #: Rows of each picture, one behind the other.
    rows: Sequence[int]
    #: Copies of the last row behind them, that fill the batch up.
    padding: int


class Launch(Protocol):
    """Runs a device call."""

    def __call__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, units: Units
    ) -> Any: ...


def launch_plainly(function: Callable[..., Any], args: Any, kwargs: Any, units: Units) -> Any:
    return function(*args, **kwargs)


class Ensemble:
    """Answers calls of one module in batches of at most `most_rows`."""

    def __init__(
        self,
        most_rows: int,
        work: Work,
        *,
        is_fixed: bool = False,
        launch: Launch = launch_plainly,
    ) -> None:
        """`is_fixed` fills every batch up to `most_rows`, else up to the next of a few sizes."""
        self.most_rows = most_rows
        self._is_fixed = is_fixed
        self._launch = launch
        self._work = work
        #: Signature to the most rows, where memory was not enough for `most_rows`.
        self._lowered: dict[Hashable, int] = {}

    def answer(self, parts: Sequence[Part]) -> list[Any]:
        """One answer per part. Raises where memory is not enough for a single picture."""
        answers: dict[int, Any] = {}
        groups: dict[Hashable, list[Part]] = {}
        for part in parts:
            groups.setdefault(part.signature, []).append(part)
        for group in groups.values():
            # Those of as many rows beside each other, so that few mixtures exist.
            left = sorted(group, key=lambda part: -part.rows)
            while left:
                batch = self._batch(left)
                found = self._call(batch)
                if found is not None:
                    answers.update((id(part), one) for part, one in zip(batch, found, strict=True))
                    left = left[len(batch) :]
        return [answers[id(part)] for part in parts]

    def _most(self, signature: Hashable) -> int:
        return min(self.most_rows, self._lowered.get(signature, self.most_rows))

    def _batch(self, parts: Sequence[Part]) -> Sequence[Part]:
        """As many of the first as fit, at least one."""
        rows, most = 0, self._most(parts[0].signature)
        for count, part in enumerate(parts):
            rows += part.rows
            if rows > most and count:
                return parts[:count]
        return parts

    def _call(self, batch: Sequence[Part]) -> list[Any] | None:
        """None when memory ran out and batches are smaller from now on."""
        try:
            return self._compute(batch)
        except (RuntimeError, MemoryError) as error:
            if self._most(batch[0].signature) == 1 or not is_out_of_memory(error):
                raise
        # Outside the except block: its traceback would keep the tensors alive.
        self._lower(batch[0].signature)
        return None

    def _lower(self, signature: Hashable) -> None:
        most = self._lowered[signature] = self._most(signature) // 2
        self._work.shortages += 1
        free_memory()
        logger.warning(
            "out of memory: pictures of that size are drawn %s rows at a time from now on%s",
            most,
            "; their bytes may differ from those of a worker with more" if self._is_fixed else "",
        )

    def _compute(self, batch: Sequence[Part]) -> list[Any]:
        units = [part.rows for part in batch]
        rows = sum(units)
        size = self._size(rows, self._most(batch[0].signature))
        args, kwargs = _join(batch, size - rows)
        out = self._launch(batch[0].call.function, args, kwargs, Units(units, size - rows))
        self._work.add(computed=size, useful=rows)
        ends = itertools.accumulate(units)
        return [_cut(out, end - part.rows, end) for part, end in zip(batch, ends, strict=True)]

    def _size(self, rows: int, most: int) -> int:
        if self._is_fixed:
            return max(rows, most)
        step = max(1, most // _SIZES)
        return rows if rows <= 2 else max(rows, min(most, -(-rows // step) * step))


class Tuner:
    """Makes parts of one picture's calls; remembers what all its calls have in common."""

    def __init__(self) -> None:
        self._prints: dict[int, tuple[torch.Tensor, str]] = {}

    def part(self, call: Call) -> Part:
        leaves: list[tuple[str, Any]] = []
        form = _flatten("", (call.args, call.kwargs), leaves)
        rows = next(leaf.shape[0] for _, leaf in leaves if _is_tensor(leaf) and leaf.dim() > 1)
        made = tuple(_lined_up(name, leaf, rows) for name, leaf in leaves)
        kinds = tuple(self._kind(place, leaf, rows) for place, leaf in enumerate(made))
        return Part(call, rows, (form, kinds), made)

    def _kind(self, place: int, leaf: Any, rows: int) -> Hashable:
        """What must be equal about a leaf: all of it, unless it has a place for each row."""
        if not _is_tensor(leaf):
            # Of no effect on a decoder that the check at load lets through.
            return "generator" if isinstance(leaf, torch.Generator) else (type(leaf), leaf)
        if _has_rows(leaf, rows):
            return (leaf.dtype, leaf.shape[1:])
        known = self._prints.get(place)
        if known is None or known[0] is not leaf:
            known = self._prints[place] = (leaf, digest([leaf]))
        return known[1]


def digest(tensors: Sequence[torch.Tensor]) -> str:
    """Equal for equal tensors; says nothing of what is in them."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        flat = tensor.detach().contiguous().cpu().reshape(-1)
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


def leaves_of(value: Any) -> list[Any]:
    """What nested arguments hold, in order."""
    named: list[tuple[str, Any]] = []
    _flatten("", value, named)
    return [leaf for _, leaf in named]


def rebuilt(like: Any, leaves: Sequence[Any]) -> Any:
    """The same nesting with other leaves."""
    return _unflatten(like, list(leaves))


def _flatten(name: str, value: Any, leaves: list[tuple[str, Any]]) -> Hashable:
    """Append the leaves with their names; return the form they stood in."""
    if isinstance(value, dict):
        return tuple((key, _flatten(key, one, leaves)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return (type(value), *(_flatten(name, one, leaves) for one in value))
    leaves.append((name, value))
    return None


def _unflatten(like: Any, leaves: list[Any]) -> Any:
    """Takes the leaves off the front of the list."""
    if isinstance(like, dict):
        return {key: _unflatten(one, leaves) for key, one in like.items()}
    if isinstance(like, list | tuple):
        return type(like)([_unflatten(one, leaves) for one in like])
    return leaves.pop(0)


def _lined_up(name: str, leaf: Any, rows: int) -> Any:
    """A time step as float32, one per row, which is what the denoisers make of it anyway."""
    if not _is_tensor(leaf):
        return leaf
    if leaf.dim() == 0:
        return leaf.to(torch.float32).expand(rows)
    is_time = name in _TIMES and not leaf.is_floating_point()
    return leaf.to(torch.float32) if is_time else leaf


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def _has_rows(leaf: Any, rows: int) -> bool:
    return _is_tensor(leaf) and leaf.dim() > 0 and leaf.shape[0] == rows


def _join(batch: Sequence[Part], padding: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of one call for all, filled up with copies of the last row."""
    first, joined = batch[0], []
    for place, leaf in enumerate(first.leaves):
        if _has_rows(leaf, first.rows):
            column = [part.leaves[place] for part in batch]
            filling = [column[-1][-1:]] * padding
            joined.append(torch.cat([*column, *filling]) if len(column) + padding > 1 else leaf)
        else:
            joined.append(leaf)
    args, kwargs = rebuilt((first.call.args, first.call.kwargs), joined)
    return args, kwargs


def _cut(out: Any, begin: int, end: int) -> Any:
    """One picture's rows of an answer: a tensor, or a tuple or record of them."""
    if _is_tensor(out):
        return out[begin:end]
    if isinstance(out, dict):
        return type(out)(**{name: _cut(one, begin, end) for name, one in out.items()})
    return type(out)([_cut(one, begin, end) for one in out])
