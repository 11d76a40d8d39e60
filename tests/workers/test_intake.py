"""What the intake owes to Redis is kept until a connection takes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from genfarm_shared.messages import write_message
from genfarm_shared.tasks import Hint, State
from genfarm_workers.intake import Intake
from genfarm_workers.news import End
from genfarm_workers.transport import Taken


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
    #: How it is broken.
    error: Exception = field(default_factory=lambda: ConnectionError("gone"))
    event_dispatcher: Any = None

    @property
    def task_consumer(self) -> "Consumer":
        return self

    channel = qos = task_consumer

    def let_go(self, tags: Sequence[str]) -> None:
        if self.is_broken:
            raise self.error
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


@pytest.mark.parametrize("error", [redis.ReadOnlyError("replica"), redis.OutOfMemoryError("full")])
def test_what_the_server_refused_to_forget_is_tried_again(error: Exception) -> None:
    """By the same connection, which is as good as before."""
    intake, consumer = Intake(["sleep"]), Consumer(Hub(), error=error)
    intake.attach(consumer)
    intake.forget(["1.0"])
    consumer.hub.turn()
    consumer.is_broken = False
    consumer.hub.turn()
    assert consumer.let_gone == ["1.0"]


@pytest.mark.parametrize(
    "error", [redis.exceptions.NoPermissionError("no channel"), ValueError("no words for it")]
)
def test_messages_are_let_go_of_though_events_cannot_be_sent(error: Exception) -> None:
    """Whatever is the reason."""

    class Refusing:
        enabled = True

        @property
        def clock(self) -> None:
            raise error

    consumer = Consumer(Hub(), is_broken=False, event_dispatcher=Refusing())
    intake = Intake(["sleep"])
    intake.attach(consumer)
    raw = write_message(Hint("job-0", "sleep", "sleep", "sleep", 1)).encode()
    intake.take([Taken("model.sleep", "1.0", len(raw), raw)])
    intake.acknowledge([End("job-0", State.SUCCEEDED)])
    consumer.hub.turn()
    assert consumer.let_gone == ["1.0"]
