"""An engine that hangs is killed; one that is only busy, or stood still with its worker, is not."""

import os
import signal
import time
from pathlib import Path

import pytest

from genfarm_shared.tasks import State
from tests.faults.drills import registry
from tests.waiting import until
from tests.yard import Yard


@pytest.mark.parametrize(
    "fault",
    [
        "hang",
        pytest.param("deadlock", marks=pytest.mark.torture),
        pytest.param("hold-gil", marks=pytest.mark.torture),
    ],
)
def test_a_hung_engine_is_killed_and_only_its_task_convicted(
    yard: Yard, tmp_path: Path, fault: str
) -> None:
    worker = yard.start_worker("drill", registry=registry(tmp_path, drill={"stall_seconds": 1.5}))
    hour = 3600.0 if fault == "hold-gil" else 0.0
    job = yard.submit("drill", {"seconds": 0.5}, {"fault": fault, "seconds": hour})
    until(lambda: yard.finished(job))
    innocent, culprit = yard.store.read_after(job, -1, 2)
    assert innocent.state is State.SUCCEEDED
    assert (culprit.state, culprit.reason_code) == (State.QUARANTINED, "quarantined")
    assert "hung: no sign of life" in (culprit.reason or "")
    assert [found.id for found in yard.store.list_workers()] == [worker.id]


@pytest.mark.parametrize("seconds", [3.0, pytest.param(15.0, marks=pytest.mark.torture)])
def test_an_engine_that_holds_the_gil_is_neither_killed_nor_reaped(
    yard: Yard, tmp_path: Path, seconds: float
) -> None:
    """The lease is 2 s: were it the engine that beats, its worker would be taken for dead."""
    worker = yard.start_worker("drill", registry=registry(tmp_path, drill={}))
    job = yard.submit("drill", {"fault": "hold-gil", "seconds": seconds}, {"seconds": 0.1})
    beats = set()
    while not yard.finished(job):
        beats.add(yard.store.list_workers()[0].beat_at)
    assert yard.states(job) == {State.SUCCEEDED: 2}
    assert yard.store.count_attempts([job]) == {"succeeded": 2}
    assert len(beats) > seconds  # four a second where the machine is idle
    (same,) = yard.store.list_workers(everyone=True)
    assert (same.id, same.report["engine_pid"]) == (worker.id, worker.report["engine_pid"])
    assert same.report["deaths"] == 0


def test_an_engine_that_stood_still_with_its_worker_did_not_hang(
    yard: Yard, tmp_path: Path
) -> None:
    """A frozen machine: the worker must not blame the engine for what befell both."""
    worker = yard.start_worker("drill", registry=registry(tmp_path, drill={"stall_seconds": 1.5}))
    engine = worker.report["engine_pid"]
    job = yard.submit("drill", {"seconds": 1.0})
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 1)
    os.kill(worker.pid, signal.SIGSTOP)
    os.kill(engine, signal.SIGSTOP)
    thaw_at = time.monotonic() + 2.5
    until(lambda: time.monotonic() > thaw_at)
    frozen = yard.store.list_workers()[0].beat_at
    os.kill(worker.pid, signal.SIGCONT)
    until(lambda: yard.store.list_workers()[0].beat_at > frozen)
    os.kill(engine, signal.SIGCONT)
    until(lambda: yard.finished(job))
    assert yard.store.count_attempts([job]) == {"succeeded": 1}
    assert yard.store.list_workers()[0].report["engine_pid"] == engine


def test_an_engine_that_stands_still_alone_is_replaced_and_its_task_goes_on(
    yard: Yard, tmp_path: Path
) -> None:
    worker = yard.start_worker("drill", registry=registry(tmp_path, drill={"stall_seconds": 1.5}))
    job = yard.submit("drill", {"seconds": 0.5})
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 1)
    os.kill(worker.report["engine_pid"], signal.SIGSTOP)
    until(lambda: yard.finished(job))
    assert yard.store.count_attempts([job]) == {"crashed": 1, "succeeded": 1}
    assert yard.store.list_workers()[0].report["engine_pid"] != worker.report["engine_pid"]
