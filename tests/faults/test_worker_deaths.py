"""A worker that dies, freezes or is told to go: what is lost, what runs again, who is left."""

import os
import signal
from pathlib import Path

import psutil

from genfarm_shared.exits import FENCED
from genfarm_shared.tasks import State, WorkerRecord
from tests.faults.test_database_lock import locked
from tests.waiting import until
from tests.yard import Yard


def test_a_killed_worker_loses_nothing_and_leaves_no_engine(yard: Yard) -> None:
    victim = yard.start_worker()
    engine = psutil.Process(victim.report["engine_pid"])
    yard.start_worker()
    job = yard.submit("sleep", *[1.0] * 40)
    until(lambda: yard.store.still_mine(victim.id))
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 40}
    assert yard.store.count_results([job]) == 40
    assert yard.store.count_attempts([job])["lost"] > 0
    yard.exit_code(victim.pid)
    engine.wait(20)


def test_a_worker_that_is_frozen_and_then_killed_loses_no_message(yard: Yard) -> None:
    """What the system had taken in for it is in no key of Redis."""
    victim = yard.start_worker()
    os.kill(victim.pid, signal.SIGSTOP)
    job = yard.submit("drill", *[{"text": str(i)} for i in range(20)])
    os.kill(victim.pid, signal.SIGKILL)
    yard.start_worker()
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 20}


def test_a_worker_frozen_past_its_lease_is_replaced_and_then_ends_itself(yard: Yard) -> None:
    """Its process lives, so that only the lease can tell; its late results are refused."""
    workers = [yard.start_worker(), yard.start_worker()]
    job = yard.submit("drill", *[{"seconds": 0.5, "text": str(i)} for i in range(40)])
    victim = _holder(yard, workers)
    until(lambda: yard.finished(job))
    lost = yard.store.count_attempts([job])["lost"]
    os.kill(victim.pid, signal.SIGCONT)
    assert yard.exit_code(victim.pid) == FENCED
    assert yard.states(job) == {State.SUCCEEDED: 40}
    assert yard.store.count_results([job]) == 40
    assert yard.store.count_attempts([job]) == {"succeeded": 40, "lost": lost}


def test_a_killed_engine_is_replaced_and_its_tasks_run_again(yard: Yard) -> None:
    worker = yard.start_worker()
    job = yard.submit("sleep", *[2.0] * 3)
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 3)
    until(lambda: yard.store.list_workers()[0].report["loaded"])  # its death is its tasks' matter
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


def test_a_stopped_worker_gives_back_what_its_engine_is_stuck_in(yard: Yard) -> None:
    worker = yard.start_worker()
    job = yard.submit("drill", {"fault": "hold-gil", "seconds": 60.0})
    until(lambda: yard.store.still_mine(worker.id))
    os.kill(worker.pid, signal.SIGTERM)
    assert yard.exit_code(worker.pid) == 0
    assert yard.store.count_attempts([job]) == {"released": 1}
    assert yard.store.list_workers(everyone=True)[0].state == "stopped"


def test_a_worker_stopped_while_the_store_is_locked_ends_and_its_task_runs_again(
    yard: Yard, tmp_path: Path
) -> None:
    worker = yard.start_worker()
    job = yard.submit("sleep", 60.0)
    until(lambda: yard.store.still_mine(worker.id))
    with locked(tmp_path / "home" / "farm.db"):
        os.kill(worker.pid, signal.SIGTERM)
        assert yard.exit_code(worker.pid) == 0
    other = yard.start_worker()
    until(lambda: yard.store.still_mine(other.id))
    assert yard.store.count_attempts([job])["lost"] == 1
    yard.store.cancel(job)


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


def _holder(yard: Yard, workers: list[WorkerRecord]) -> WorkerRecord:
    """A worker that is frozen with claims in its hands."""
    while True:
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)
            if yard.store.still_mine(worker.id):
                return worker
            os.kill(worker.pid, signal.SIGCONT)
