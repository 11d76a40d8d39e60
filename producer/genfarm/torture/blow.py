"""What a fault is given and gives back. Strikes nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from genfarm.torture.driver import Driver
from genfarm.torture.yard import Yard


@dataclass(frozen=True, slots=True)
class Blow:
    """A strike that landed."""

    #: What was struck.
    target: str
    #: Seconds until it is healed.
    seconds: float = 0.0
    heal: Callable[[], object] | None = None
    #: Pid of the worker that it kills, and after how many seconds.
    kills: int | None = None
    kills_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Field:
    """What faults strike."""

    yard: Yard
    driver: Driver
