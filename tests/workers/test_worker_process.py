"""A worker process does its work, and dies without losing any."""

import base64
import contextlib
import json
import os
import signal
import threading
from typing import Any

import psutil
import redis

from genfarm_shared.queue import PREFIX, make_app
from genfarm_shared.tasks import Hint, Outcome, State
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


def test_a_killed_worker_loses_nothing(yard: Yard) -> None:
    victim = yard.start_worker()
    yard.start_worker()
    job = yard.submit("sleep", *[1.0] * 40)
    until(lambda: yard.store.still_mine(victim.id))
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 40}
    assert yard.store.count_results([job]) == 40
    assert yard.store.count_attempts([job])["lost"] > 0


def test_a_killed_engine_is_replaced_and_its_tasks_run_again(yard: Yard) -> None:
    worker = yard.start_worker()
    job = yard.submit("sleep", *[2.0] * 3)
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 3)
    os.kill(worker.report["engine_pid"], signal.SIGKILL)
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 3}
    assert yard.store.list_workers()[0].id == worker.id
    assert yard.store.count_attempts([job]) == {"crashed": 3, "succeeded": 3}


def test_a_stopped_worker_finishes_or_gives_back(yard: Yard) -> None:
    worker = yard.start_worker()
    job = yard.submit("sleep", 0.5, 60.0)
    until(lambda: len(yard.store.still_mine(worker.id)) == 2)
    os.kill(worker.pid, signal.SIGTERM)
    assert yard.exit_code(worker.pid) == 0
    assert yard.states(job)[State.SUCCEEDED] == 1
    assert yard.store.count_attempts([job]) == {"succeeded": 1, "released": 1}
    assert yard.store.list_workers(everyone=True)[0].state == "stopped"


def test_a_signal_to_the_whole_group_lets_batches_finish(yard: Yard) -> None:
    """As systemd and a terminal send it: the engine leaves the decision to its worker."""
    worker = yard.start_worker(drain_timeout=20.0)
    job = yard.submit("sleep", 0.8)
    until(lambda: yard.store.still_mine(worker.id))
    os.kill(worker.report["engine_pid"], signal.SIGTERM)
    os.kill(worker.pid, signal.SIGTERM)
    assert yard.exit_code(worker.pid) == 0
    assert yard.store.count_attempts([job]) == {"succeeded": 1}


def test_a_second_sigterm_does_not_wait_for_the_batch(yard: Yard) -> None:
    worker = yard.start_worker(drain_timeout=3600.0)
    job = yard.submit("sleep", 3600.0)
    until(lambda: yard.store.still_mine(worker.id))
    os.kill(worker.pid, signal.SIGTERM)
    until(lambda: yard.store.list_workers()[0].state == "draining")
    os.kill(worker.pid, signal.SIGTERM)
    assert yard.exit_code(worker.pid) == 128 + signal.SIGTERM
    other = yard.start_worker()
    until(lambda: yard.store.still_mine(other.id))
    yard.store.cancel(job)


def test_a_dead_worker_leaves_no_engine(yard: Yard) -> None:
    worker = yard.start_worker()
    engine = psutil.Process(worker.report["engine_pid"])
    os.kill(worker.pid, signal.SIGKILL)
    yard.exit_code(worker.pid)
    engine.wait(20)


def test_a_cancelled_running_task_leaves_the_engine(yard: Yard) -> None:
    worker = yard.start_worker()
    job = yard.submit("sleep", 3600.0)
    until(lambda: yard.store.still_mine(worker.id))
    assert yard.store.cancel(job) == 1
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 0)
    assert yard.states(job) == {State.CANCELLED: 1}


def test_a_message_that_nobody_can_use_is_a_dead_letter(yard: Yard, broker_url: str) -> None:
    """A body of another shape, and one that names a model the worker does not serve."""
    worker, key = yard.start_worker(), f"{PREFIX}model.sleep:9"
    yard.broker.publish([Hint("forged-0", "template", "template", "template", 1)])
    wrong = base64.b64encode(json.dumps([["sleep", "nobody's", "k", 1], {}, {}]).encode()).decode()
    with redis.Redis.from_url(broker_url) as client:
        good = client.rpop(f"{PREFIX}model.template:9")
        for body in (base64.b64encode(b'{"a": 1}').decode(), wrong):
            client.lpush(key, json.dumps({**json.loads(good), "body": body}))
    until(lambda: len(dead_letters(yard)) == 2)
    job = yard.submit("sleep", 0.0)
    until(lambda: yard.finished(job))
    assert yard.store.list_workers()[0].id == worker.id


def dead_letters(yard: Yard) -> list[str]:
    rows = "SELECT reason FROM dead_letters"
    return yard.store.read(lambda c: [row[0] for row in c.exec_driver_sql(rows)])


def test_a_worker_judged_dead_ends_itself(yard: Yard) -> None:
    worker = yard.start_worker()
    yard.store.write(lambda c: c.exec_driver_sql("UPDATE workers SET state = 'dead'"))
    assert yard.exit_code(worker.pid) == 75


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
