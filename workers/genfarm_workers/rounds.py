"""Whose turn it is among lines that share something, by what each has cost. Pure.

Deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) in the form that lets a line
overdraw: whoever has credit takes what fits, whole; whoever has none goes to the end and gets
a quantum there. So a batch is never cut short to make a sum come out even, and no line is
ahead of another by more than a quantum and one batch. A cost is at most a quantum: whoever
runs more than a turn's worth at once has it charged as one turn.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Rounds(Generic[K]):
    """The order of some lines' turns. Every call costs the same however many there are."""

    def __init__(self) -> None:
        #: What each may still take before it goes to the end, in the order of turns.
        self._credit: OrderedDict[K, float] = OrderedDict()

    def join(self, line: K, quantum: float) -> None:
        """At the end of the order; nothing for a line that is there."""
        self._credit.setdefault(line, quantum)

    def leave(self, line: K) -> None:
        """Forget the line and what it owes: whoever has nothing to run cannot save up."""
        self._credit.pop(line, None)

    def charge(self, line: K, cost: float, quantum: float) -> None:
        """Note that the line has taken so much; `quantum` is what a turn of its is worth."""
        self._credit[line] -= min(cost, quantum)
        if self._credit[line] <= 0:
            self._credit[line] += quantum
            self._credit.move_to_end(line)

    def __iter__(self) -> Iterator[K]:
        return iter(self._credit)

    def __len__(self) -> int:
        return len(self._credit)
