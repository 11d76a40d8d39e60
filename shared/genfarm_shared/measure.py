"""What a benchmark is: arms measured in turns in one run, and the ratios of their medians.

An arm is our farm, a peer or a limit. They take turns, so that a machine that
slows down slows them all. Prints nothing and asserts nothing: a speed is a
figure, not a test.
"""

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Told after each measurement: how many are done, of how many, and of which arm the last was.
Progress = Callable[[int, int, str], None]


def describe_machine() -> dict[str, Any]:
    """Where this runs, as far as it explains a figure."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to do the work."""

    name: str
    #: Does it once and returns its rate: more is better, in the unit of its part.
    run: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """What an arm's runs gave, in the order they were made."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two medians of one part, or another number that is held against a goal."""

    #: `genfarm / celery threads`, say.
    what: str
    value: float
    #: What it should be at least; at most where `is_ceiling`. None where nothing is promised.
    goal: float | None = None
    is_ceiling: bool = False

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.is_ceiling else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Part:
    """Arms that can be compared, because they did the same work."""

    title: str
    #: Of the arms' values; more is better: `tasks/s`, `tokens per CPU-second`.
    unit: str
    arms: tuple[Measured, ...]
    ratios: tuple[Ratio, ...] = ()
    #: What a reader must know: an arm that is missing and how to get it, the workload's size.
    notes: tuple[str, ...] = ()

    def median(self, arm: str) -> float:
        """Raises KeyError for an arm that was not measured."""
        return {found.name: found.median for found in self.arms}[arm]

    def has(self, arm: str) -> bool:
        return any(found.name == arm for found in self.arms)


@dataclass(frozen=True, slots=True)
class Report:
    """One run of a benchmark."""

    #: The word behind `genfarm bench`.
    name: str
    #: One sentence: what is held against what.
    question: str
    parts: tuple[Part, ...]
    machine: Mapping[str, Any] = field(default_factory=describe_machine)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Report":
        return cls(**{**found, "parts": tuple(_part(part) for part in found["parts"])})


def interleave(
    arms: Sequence[Arm], rounds: int, progress: Progress = lambda done, of, arm: None
) -> tuple[Measured, ...]:
    """Run every arm once a round, the order turning with each round."""
    values: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for turn in range(rounds):
        first = turn % len(arms)
        for place, arm in enumerate([*arms[first:], *arms[:first]]):
            values[arm.name].append(arm.run())
            progress(turn * len(arms) + place + 1, rounds * len(arms), arm.name)
    return tuple(Measured(arm.name, tuple(values[arm.name])) for arm in arms)


def _part(found: Mapping[str, Any]) -> Part:
    arms = tuple(Measured(arm["name"], tuple(arm["values"])) for arm in found["arms"])
    ratios = tuple(Ratio(**ratio) for ratio in found["ratios"])
    return Part(found["title"], found["unit"], arms, ratios, tuple(found["notes"]))
