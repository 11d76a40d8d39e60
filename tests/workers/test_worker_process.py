"""A worker process does its work, and Flower hears of it. How it dies: tests/faults."""

import contextlib
import threading
from typing import Any

from genfarm_shared.queue import make_app
from genfarm_shared.tasks import Outcome, State
from tests.shared.farmyard import add_worker
from tests.waiting import until
from tests.yard import Yard


def test_tasks_of_two_kinds_are_run_and_recorded(yard: Yard) -> None:
    yard.start_worker()
    sleeps = yard.submit("sleep", *[0.0] * 50)
    floats = yard.submit("batch-floats", [0.5, 1.0], [2.0])
    until(lambda: yard.finished(sleeps) and yard.finished(floats))
    assert yard.states(sleeps) == {State.SUCCEEDED: 50}
    first, second = yard.store.read_after(floats, -1, 10)
    assert first.output is not None
    assert second.output is not None
    assert (len(first.output["values"]), len(second.output["values"])) == (2, 1)


def test_a_hundred_sleeps_are_held_at_once(yard: Yard) -> None:
    yard.start_worker()
    job = yard.submit("sleep", *[2.0] * 100)
    until(lambda: yard.finished(job))
    began = [record.claimed_at or 0.0 for record in yard.store.read_after(job, -1, 100)]
    ended = [record.finished_at or 0.0 for record in yard.store.read_after(job, -1, 100)]
    assert max(began) < min(ended)  # the last had begun before the first was over


def test_flower_hears_of_an_end_that_a_dead_worker_kept_to_itself(
    yard: Yard, broker_url: str
) -> None:
    """The worker died after its commit and before its event; another finds the message."""
    job = yard.submit("sleep", 0.0)
    add_worker(yard.store, "ghost")
    (claim,) = yard.store.claim([f"{job}-000000"], "ghost")
    yard.store.commit([Outcome(claim.task_id, 1, {})], "ghost", max_attempts=3)
    heard: list[str] = []
    app = make_app(broker_url, ["sleep"], worker_id="listener")
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"task-succeeded": lambda event: heard.append(event["uuid"])}
        )
        stop = threading.Event()
        listening = threading.Thread(target=_listen, args=(receiver, stop))
        listening.start()
        try:
            yard.start_worker()
            until(lambda: heard == [claim.task_id])
        finally:
            stop.set()
            listening.join(10)


def _listen(receiver: Any, stop: threading.Event) -> None:
    with receiver.consumer_context(wakeup=False) as (connection, _channel, _consumers):
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.2)
