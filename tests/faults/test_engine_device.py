"""A device that is lost: no innocent pays for it, and a sick one takes no work."""

import json
from pathlib import Path

import pytest

from genfarm.cli import main
from genfarm_shared.tasks import State
from tests.faults.drills import registry
from tests.waiting import until
from tests.yard import Yard


def test_a_sick_device_is_parked_and_comes_back_by_itself(
    yard: Yard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sick = tmp_path / "sick"
    drills = registry(tmp_path, drill={"sick_while": str(sick)})
    parked = yard.start_worker("drill", registry=drills, reprobe_seconds=0.3)
    sick.touch()
    lost = yard.submit("drill", *[{"seconds": 0.3}] * 3, {"fault": "lost-device", "seconds": 0.1})
    until(lambda: "sick exists" in report(yard, parked.id).get("parked", ""))
    until(lambda: not yard.store.still_mine(parked.id))
    assert set(yard.store.count_attempts([lost])) <= {"released", "succeeded"}
    assert main(["workers", "ls"]) == 0
    assert "parked: " in capfd.readouterr().err
    yard.store.cancel(lost)
    other = yard.start_worker("drill")
    job = yard.submit("drill", *[{}] * 8)
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 8}
    assert {result.worker_id for result in yard.store.read_after(job, -1, 8)} == {other.id}
    sick.unlink()
    until(lambda: report(yard, parked.id)["parked"] == "" and report(yard, parked.id)["ready"])


def test_a_task_that_loses_a_healthy_device_again_and_again_fails(
    yard: Yard, tmp_path: Path
) -> None:
    """The device answers its probes, yet may be at fault: nobody is quarantined for it."""
    yard.start_worker("drill", registry=registry(tmp_path, drill={}), max_attempts=2)
    job = yard.submit("drill", *[{"seconds": 0.3}] * 3, {"fault": "lost-device"})
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 3, State.FAILED: 1}
    (culprit,) = yard.store.read_after(job, 2, 1)
    assert culprit.reason_code == "device_lost"
    assert "CUDA error: a drill" in (culprit.reason or "")


def report(yard: Yard, worker_id: str) -> dict[str, str]:
    (found,) = [worker for worker in yard.store.list_workers() if worker.id == worker_id]
    return json.loads(json.dumps(found.report))  # type: ignore[no-any-return]
