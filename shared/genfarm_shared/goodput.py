"""Goodput: how much of its busy time a worker spent on rows that a task needed.

Worked out by the worker, read by whoever shows it. Knows no clock.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from genfarm_shared.tasks import WorkerRecord

#: Key of a worker's report, and of the two spans within it.
REPORTED, MINUTE, TOTAL = "goodput", "minute", "total"


@dataclass(frozen=True, slots=True)
class Goodput:
    """Seconds of one worker, each counted once.

    Goodput is `useful / busy`. A worker is busy while a task waits in its lines,
    is being claimed, or is in its engine's hands; `busy` is the sum of all parts
    but `idle`. The bare limit, an engine in a loop with nothing around it and a
    task in every row, has a goodput of 1. A commit behind a busy engine costs
    the device nothing and is in no part. Time in which tasks wait in Redis and
    none has reached the worker is `idle`: the worker cannot know of them.
    """

    #: No task was at the worker.
    idle: float = 0.0
    #: The engine computed, in the share of its rows that a task needed; or it held tasks that
    #: only wait by their nature (`sleep`).
    useful: float = 0.0
    #: The engine computed, in the share of its rows that no task needed.
    padding: float = 0.0
    #: The engine loaded a model.
    load: float = 0.0
    #: The engine held tasks and did none of that: they were checked, written, read, or on
    #: their way between the two processes.
    serialise: float = 0.0
    #: The engine held nothing while the worker claimed tasks from the store.
    database: float = 0.0
    #: The engine held nothing while tasks waited in the worker: its process was being started,
    #: say, or a suspect had it to itself.
    wait: float = 0.0

    @property
    def busy(self) -> float:
        return math.fsum(asdict(self).values()) - self.idle

    @property
    def fraction(self) -> float | None:
        """None for a worker that was never busy."""
        return self.useful / self.busy if self.busy > 0 else None

    def lost(self) -> dict[str, float]:
        """Where the rest of its busy time went, as fractions, the largest first."""
        parts = {name: value for name, value in asdict(self).items() if name in LOSSES}
        ranked = sorted(parts.items(), key=lambda part: -part[1])
        return {name: value / self.busy for name, value in ranked} if self.busy > 0 else {}

    def since(self, earlier: "Goodput") -> "Goodput":
        """What was added to it after an earlier moment."""
        before = asdict(earlier)
        # What a step in progress is counted as may move to padding at its end.
        parts = {name: max(value - before[name], 0.0) for name, value in asdict(self).items()}
        return Goodput(**parts)

    def to_json(self) -> dict[str, Any]:
        rounded = {name: round(value, 3) for name, value in asdict(self).items()}
        share = self.fraction
        return rounded | {"fraction": None if share is None else round(share, 4)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Goodput":
        """Of what an older or a newer worker wrote, what this version knows."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: float(value) for name, value in found.items() if name in known})


#: The parts of busy time that are not useful.
LOSSES = tuple(field.name for field in fields(Goodput) if field.name not in ("idle", "useful"))


def goodput_of(worker: WorkerRecord, span: str = MINUTE) -> Goodput:
    """What a worker last said of itself; all zeros for one that said nothing."""
    return Goodput.from_json(worker.report.get(REPORTED, {}).get(span, {}))


def together(parts: Iterable[Goodput]) -> Goodput:
    """Of several workers, each weighing as much as it was busy."""
    sums = dict.fromkeys((field.name for field in fields(Goodput)), 0.0)
    for part in parts:
        for name, value in asdict(part).items():
            sums[name] += value
    return Goodput(**sums)


def spell_goodput(found: Goodput) -> str:
    """`87 % (padding 9 %, wait 3 %)`, what is under one in a hundred left out; `-` when idle."""
    share = found.fraction
    if share is None:
        return "-"
    lost = [f"{name} {part:.0%}" for name, part in found.lost().items() if part >= 0.005]
    return f"{share:.0%} ({', '.join(lost)})" if lost else f"{share:.0%}"
