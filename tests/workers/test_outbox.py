"""The outputs of short steps travel together, and none waits for its own sake."""

import pytest

from genfarm_workers.engines import Output
from genfarm_workers.outbox import GATHER_SECONDS, Outbox

MOST = 16


class Sent(list[list[str]]):
    """The ids of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(lambda outputs: self.append([one.task_id for one in outputs]))

    def end(self, task_id: str, now: float) -> None:
        self.outbox.put([Output(task_id)], now)


@pytest.fixture
def sent() -> Sent:
    return Sent()


def test_what_ends_in_short_steps_goes_together_when_the_first_has_waited_enough(
    sent: Sent,
) -> None:
    for number in range(3):
        now = number * 0.4 * GATHER_SECONDS
        sent.end(f"t{number}", now)
        sent.outbox.make_way(now + 0.1 * GATHER_SECONDS, MOST)
    assert sent == []
    sent.end("t3", 0.95 * GATHER_SECONDS)
    sent.outbox.make_way(1.05 * GATHER_SECONDS, MOST)
    assert sent == [["t0", "t1", "t2", "t3"]]


def test_nothing_waits_for_a_step_that_takes_longer_than_it_may_wait(sent: Sent) -> None:
    sent.end("t0", 5.0)
    sent.outbox.make_way(5.0 + 1.1 * GATHER_SECONDS, MOST)
    assert sent == [["t0"]]


def test_as_many_as_the_worker_refills_at_once_do_not_wait(sent: Sent) -> None:
    for number in range(MOST):
        assert sent == []
        sent.end(f"t{number}", 5.0)
        sent.outbox.make_way(5.0, MOST)
    assert [len(message) for message in sent] == [MOST]


def test_a_flush_sends_all_once_and_an_empty_outbox_sends_nothing(sent: Sent) -> None:
    sent.outbox.flush()
    sent.end("t0", 5.0)
    sent.outbox.flush()
    sent.outbox.flush()
    sent.outbox.make_way(9.0, MOST)
    assert sent == [["t0"]]


def test_what_is_dropped_after_its_end_is_not_sent(sent: Sent) -> None:
    for task_id in ("kept", "gone"):
        sent.end(task_id, 5.0)
    sent.outbox.forget({"gone"})
    sent.outbox.flush()
    assert sent == [["kept"]]
