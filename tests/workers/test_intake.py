"""What the intake owes to Redis is kept until a connection takes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from genfarm_workers.intake import Intake


@dataclass
class Hub:
    """Celery's event loop, turned by the test."""

    later: list[Callable[[], None]] = field(default_factory=list)

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def turn(self) -> None:
        due, self.later = self.later, []
        for callback in due:
            callback()


@dataclass
class Consumer:
    """Celery's consumer, its task consumer and its channel in one; broken until mended."""

    hub: Hub
    let_gone: list[str] = field(default_factory=list)
    is_broken: bool = True
    connection_errors: tuple[type[Exception], ...] = (ConnectionError,)
    event_dispatcher: Any = None

    @property
    def task_consumer(self) -> "Consumer":
        return self

    channel = qos = task_consumer

    def let_go(self, tags: Sequence[str]) -> None:
        if self.is_broken:
            raise ConnectionError("gone")
        self.let_gone += tags


def test_what_could_not_be_let_go_of_goes_with_the_next_connection() -> None:
    intake, broken, mended = Intake(["sleep"]), Consumer(Hub()), Consumer(Hub(), is_broken=False)
    intake.attach(broken)
    intake.forget(["1.0", "1.1"])
    broken.hub.turn()
    intake.forget(["2.0"])
    intake.attach(mended)  # though a flush of the old connection was still to come
    mended.hub.turn()
    assert mended.let_gone == ["1.0", "1.1", "2.0"]
