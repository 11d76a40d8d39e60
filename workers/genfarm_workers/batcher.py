"""Gathers hints into batches. Pure: no clock, no thread, no queue, no model.

    admit ──▶ one line of waiting tasks per model and batch key ──▶ next_batch

A batch has one key and is bounded in rows. Nothing lingers: whatever waits
goes as soon as the engine has room, because an idle device is never made
better by waiting. Whose turn it is, in this order:

    urgency   a task's priority, 0 to 9, and one more for every AGE seconds that it waits here;
              one that was begun before is as urgent as can be. A line is as urgent as the
              most urgent of its tasks
    turns     lines of the same urgency share by rows (`rounds.py`); a turn is worth one load
              of the model's engine, so that a model of few rows is not outvoted

So what waits gains a step every AGE seconds, and after nine of them nothing that comes goes
before it but by turns.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from genfarm_shared.tasks import ALONE, Hint
from genfarm_workers.rounds import Rounds

#: An engine is refilled when a quarter of its rows are free: finer would claim tasks one
#: by one, coarser would leave rows empty. Not measured.
REFILL = 4
#: Seconds of waiting here that count as one step of priority: a minute and a half from the
#: least urgent to the most. Not measured.
AGE = 10.0
#: The most urgent priority.
TOP = 9


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


@dataclass(slots=True)
class _Line:
    """The waiting tasks of one model and batch key."""

    model: str
    batch_key: str
    #: Heap by the time at which a task would have come, had it come with priority 0: of two
    #: tasks the more urgent stays the more urgent, so that no clock has to sort them anew.
    #: Behind it the task's place among all, and itself.
    waiting: list[tuple[float, int, Hint]] = field(default_factory=list)

    def urgency(self, now: float) -> int:
        return min(TOP, int((now - self.waiting[0][0]) // AGE))


class Batcher:
    """The waiting tasks of one worker. Not for two threads at once."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        """`slots` are the batch rows that the engine of each served model holds at once; asked
        anew each time, because they may be measured only once the model is loaded."""
        self._slots = slots
        self._lines: dict[tuple[str, str], _Line] = {}
        self._turns: Rounds[tuple[str, str]] = Rounds()
        self._ids: set[str] = set()
        #: By model, so that a question after room costs no sum.
        self._rows: Counter[str] = Counter()
        self._arrivals = count()

    def admit(self, hint: Hint, now: float) -> bool:
        """Take one task in; False when it waits here already. `now` is monotonic seconds."""
        if hint.task_id in self._ids:
            return False
        self._ids.add(hint.task_id)
        name = (hint.model, hint.batch_key)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(*name)
            self._turns.join(name, self._slots[hint.model])
        came = now - AGE * (TOP if hint.is_redo else hint.priority)
        heappush(line.waiting, (came, next(self._arrivals), hint))
        self._rows[hint.model] += hint.rows
        return True

    def room(self, model: str) -> int:
        """How many more rows of that model may wait here: a whole engine load in all, so that
        others get what is above it."""
        return max(0, self._slots[model] - self._rows[model])

    def next_batch(self, in_hand: Mapping[str, int], now: float) -> Batch | None:
        """The next tasks to run, or None while nothing waits or nothing fits.

        `in_hand` are the rows that the engine holds of each model. It is kept
        one load ahead, so that the device need not wait for a claim.
        """
        idle = not any(in_hand.values())
        for line in self._by_urgency(now):
            if line.batch_key.startswith(ALONE) and not idle:
                return None  # its turn: the engine runs empty for it, or it would starve
            free = 2 * self._slots[line.model] - in_hand.get(line.model, 0)
            if self._is_worth_it(line, free):
                return self._take(line, free)
        return None

    def shed(self, is_unwanted: Callable[[str], bool]) -> list[Hint]:
        """Take the lines of unwanted models out; returns what waited in them."""
        models = {model for model, _ in self._lines}
        unwanted = {model for model in models if is_unwanted(model)}
        lines = [line for line in self._lines.values() if line.model in unwanted]
        for line in lines:
            self._forget(line)
        hints = [hint for line in lines for *_, hint in sorted(line.waiting)]
        self._ids.difference_update(hint.task_id for hint in hints)
        for model in unwanted:
            del self._rows[model]
        return hints

    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._ids)

    def rows_waiting(self) -> dict[str, int]:
        """Rows that wait of each model."""
        return {model: rows for model, rows in self._rows.items() if rows > 0}

    def _by_urgency(self, now: float) -> list[_Line]:
        """Lines of one urgency stay in the order of their turns."""
        lines = [self._lines[name] for name in self._turns]
        if len(lines) > 1:
            lines.sort(key=lambda line: -line.urgency(now))
        return lines

    def _is_worth_it(self, line: _Line, free: int) -> bool:
        """Whether a claim is: for all that waits, or for enough of the engine's rows."""
        slots = self._slots[line.model]
        if free >= max(1, slots // REFILL):
            return self._cost(line.waiting[0][-1]) <= free
        # Fewer tasks than a refill has rows, so that this is no long sum.
        few = len(line.waiting) <= free
        return few and sum(self._cost(hint) for *_, hint in line.waiting) <= free

    def _take(self, line: _Line, free: int) -> Batch:
        slots = self._slots[line.model]
        room, hints, cost = min(free, slots), list[Hint](), 0
        # One load, but a first task always: a load may have become smaller just now.
        while line.waiting and (not hints or cost + self._cost(line.waiting[0][-1]) <= room):
            *_, hint = heappop(line.waiting)
            cost += self._cost(hint)
            hints.append(hint)
            self._ids.discard(hint.task_id)
            self._rows[line.model] -= hint.rows
        name = (line.model, line.batch_key)
        self._turns.charge(name, cost, slots)  # its next turn comes after the others'
        if not line.waiting:
            self._forget(line)
        return Batch(line.model, line.batch_key, tuple(hints))

    def _cost(self, hint: Hint) -> int:
        """Its rows; a task of more than the engine has now counts as one whole load."""
        return min(hint.rows, self._slots[hint.model])

    def _forget(self, line: _Line) -> None:
        name = (line.model, line.batch_key)
        del self._lines[name]
        self._turns.leave(name)
