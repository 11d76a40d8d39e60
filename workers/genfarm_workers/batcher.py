"""Gathers hints into batches. Pure: no clock, no thread, no queue, no model.

    admit ──▶ one line of waiting tasks per batch key ──▶ next_batch

A batch has one key and is bounded in rows. Nothing lingers: whatever waits
goes as soon as the engine has room, because an idle device is never made
better by waiting. Models take turns, and so do the keys of one model.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genfarm_shared.tasks import ALONE, Hint

#: An engine is refilled when a quarter of its rows are free: finer would claim tasks one
#: by one, coarser would leave rows empty. Not measured.
REFILL = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks to claim together."""

    model: str
    batch_key: str
    hints: tuple[Hint, ...]

    @property
    def is_alone(self) -> bool:
        """Whether it is a group of suspects that must have the engine to itself."""
        return self.batch_key.startswith(ALONE)


class Batcher:
    """The waiting tasks of one worker. Not for two threads at once."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        """`slots` are the batch rows that the engine of each served model holds at once."""
        self._slots = dict(slots)
        #: Lines by model and key; both levels are kept in the order of their turns.
        self._lines: OrderedDict[str, OrderedDict[str, deque[Hint]]] = OrderedDict()
        self._ids: set[str] = set()
        #: Rows that wait, by model: asked for with every look at Redis.
        self._waiting: Counter[str] = Counter()

    def admit(self, hint: Hint) -> bool:
        """Take one task in; False when it waits here already."""
        if hint.task_id in self._ids:
            return False
        self._ids.add(hint.task_id)
        self._waiting[hint.model] += self._rows(hint)
        lines = self._lines.setdefault(hint.model, OrderedDict())
        lines.setdefault(hint.batch_key, deque()).append(hint)
        return True

    def room(self, model: str) -> int:
        """How many more rows of that model may wait here: a whole engine load in all, so that
        others get what is above it."""
        return max(0, self._slots[model] - self._waiting[model])

    def next_batch(self, in_hand: Mapping[str, int]) -> Batch | None:
        """The next tasks to run, or None while nothing waits or nothing fits.

        `in_hand` are the rows that the engine holds of each model. It is kept
        one load ahead, so that the device need not wait for a claim.
        """
        idle = not any(in_hand.values())
        for model in list(self._lines):
            free = 2 * self._slots[model] - in_hand.get(model, 0)
            for key in list(self._lines[model]):
                if key.startswith(ALONE) and not idle:
                    return None  # its turn: the engine runs empty for it, or it would starve
                hints = self._fit(model, key, free)
                if hints:
                    return self._take(model, key, hints)
        return None

    def shed(self, is_unwanted: Callable[[str], bool]) -> list[Hint]:
        """Take the lines of unwanted models out; returns what waited in them."""
        unwanted = [model for model in self._lines if is_unwanted(model)]
        lines = [line for model in unwanted for line in self._lines.pop(model).values()]
        hints = [hint for line in lines for hint in line]
        for model in unwanted:
            del self._waiting[model]
        self._ids.difference_update(hint.task_id for hint in hints)
        return hints

    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._ids)

    def _fit(self, model: str, key: str, free: int) -> tuple[Hint, ...]:
        """The head of a line, as much as fits; empty while too little is free to bother."""
        slots = self._slots[model]
        line = self._lines[model][key]
        if free < min(len(line), max(1, slots // REFILL)):
            return ()  # each task takes a row at least
        room = min(free, slots)
        chosen: list[Hint] = []
        for hint in line:
            if chosen and self._rows(hint) > room:
                break
            if self._rows(hint) > free:
                break
            chosen.append(hint)
            room -= self._rows(hint)
        enough = len(chosen) == len(line) or free >= max(1, slots // REFILL)
        return tuple(chosen) if enough else ()

    def _take(self, model: str, key: str, hints: tuple[Hint, ...]) -> Batch:
        line = self._lines[model][key]
        for hint in hints:
            line.popleft()
            self._ids.discard(hint.task_id)
            self._waiting[model] -= self._rows(hint)
        self._replace(model, key, line)
        if model in self._lines:  # its next turn comes after the others'
            self._lines.move_to_end(model)
            if key in self._lines[model]:
                self._lines[model].move_to_end(key)
        return Batch(model, key, hints)

    def _replace(self, model: str, key: str, line: deque[Hint]) -> None:
        if line:
            self._lines[model][key] = line
            return
        del self._lines[model][key]
        if not self._lines[model]:
            del self._lines[model]

    def _rows(self, hint: Hint) -> int:
        """A task of more rows than the engine has counts as one whole load."""
        return min(hint.rows, self._slots[hint.model])
