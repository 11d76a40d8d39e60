"""The striker: chooses, strikes, remembers and heals. Only its seed decides what it wants;
what is possible at that moment decides what it does.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from genfarm.torture.blow import Blow, Field
from genfarm.torture.faults import Fault

#: Seconds between two strikes, least and most.
PAUSE = (0.5, 1.5)
#: Families whose faults stop the whole farm: one at a time, and none for REST seconds after, or
#: nothing would ever be at work when the others strike.
OUTAGES = frozenset({"broker", "network", "database"})
REST = 4.0
#: Choices a strike takes before it is left out.
TRIES = 6


@dataclass(frozen=True, slots=True)
class Strike:
    """A line of the ledger."""

    #: UTC seconds.
    at: float
    fault: str
    family: str
    target: str
    #: Seconds until it was to be healed.
    seconds: float
    #: Pid of a worker that it killed, and when.
    killed: int | None = None
    killed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Open:
    """A fault at work."""

    until: float
    blow: Blow


class Nemesis:
    """Strikes when `tick` is called; the main thread's alone."""

    def __init__(self, field: Field, faults: Sequence[Fault], seed: int) -> None:
        self._field = field
        self._faults = list(faults)
        self._seed = seed
        self._next = 0.0
        self._number = 0
        self._open: list[_Open] = []
        #: When the whole farm may be stopped again.
        self._rested = 0.0
        self._struck: Counter[str] = Counter()
        self.strikes: list[Strike] = []

    def tick(self, now: float) -> None:
        """Heal what is over and strike if it is time. `now` is monotonic seconds."""
        self._heal(now)
        if not self._next:  # the farm gets a first pause too
            self._next = now + PAUSE[1]
        if now >= self._next:
            rng = Random(f"nemesis {self._seed} {self._number}")  # noqa: S311
            self._number += 1
            self._next = now + rng.uniform(*PAUSE)
            self._strike(rng, now)

    def heal_all(self) -> None:
        """End every fault that is at work."""
        self._heal(float("inf"))

    def _strike(self, rng: Random, now: float) -> None:
        resting = now < self._rested
        free = [f for f in self._faults if not (resting and f.family in OUTAGES)]
        for _ in range(TRIES if free else 0):
            # The more often one has struck, the less it is wanted: a short run sees many kinds.
            weights = [f.weight / (1 + self._struck[f.name]) for f in free]
            fault = rng.choices(free, weights)[0]
            at = time.time()
            blow = fault.strike(self._field, rng)
            if blow is None:
                continue
            self._note(at, fault, blow)
            self._struck[fault.name] += 1
            if fault.family in OUTAGES:
                self._rested = now + blow.seconds + REST
            if blow.heal is not None:
                self._open.append(_Open(now + blow.seconds, blow))
            return

    def _note(self, at: float, fault: Fault, blow: Blow) -> None:
        when = at + blow.kills_after
        named = (at, fault.name, fault.family, blow.target, blow.seconds)
        self.strikes.append(Strike(*named, killed=blow.kills, killed_at=when))

    def _heal(self, now: float) -> None:
        over = [one for one in self._open if one.until <= now]
        self._open = [one for one in self._open if one.until > now]
        for one in over:
            if one.blow.heal is not None:
                one.blow.heal()
