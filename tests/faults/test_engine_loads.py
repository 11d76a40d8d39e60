"""A model that cannot be loaded keeps nothing but its own tasks from working."""

from pathlib import Path

from genfarm_shared.tasks import State
from tests.faults.drills import registry
from tests.waiting import until
from tests.yard import Yard


def test_models_that_cannot_be_loaded_fail_their_own_tasks_alone(
    yard: Yard, tmp_path: Path
) -> None:
    """One raises, one takes the engine process with it; no other worker serves them."""
    drills = registry(
        tmp_path, drill={}, raising={"load_fault": "raise"}, falling={"load_fault": "segfault"}
    )
    yard.start_worker("drill,raising,falling", registry=drills)
    raising = yard.submit("drill", *[{}] * 3, model="raising")
    falling = yard.submit("drill", *[{}] * 3, model="falling")
    drill = yard.submit("drill", *[{"seconds": 0.05}] * 40)
    until(lambda: all(map(yard.finished, (raising, falling, drill))))
    assert yard.states(drill) == {State.SUCCEEDED: 40}
    for job, said in ((raising, "ValueError: a drill"), (falling, "SIGSEGV while it loaded")):
        assert yard.states(job) == {State.FAILED: 3}
        (record, *_) = yard.store.read_after(job, -1, 1)
        assert record.reason_code == "model_unavailable"
        assert said in (record.reason or "")
        assert "crashed" not in yard.store.count_attempts([job])
    until(lambda: len(yard.store.list_workers()[0].report["crash_loop"]) == 2)
    later = yard.submit("drill", *[{}] * 3)
    until(lambda: yard.finished(later))
    assert yard.states(later) == {State.SUCCEEDED: 3}


def test_tasks_that_one_worker_cannot_load_are_run_by_another(yard: Yard, tmp_path: Path) -> None:
    good = yard.start_worker("twin", registry=registry(tmp_path, "good", twin={}))
    bad = registry(tmp_path, "bad", twin={"load_fault": "raise"})
    broken = yard.start_worker("twin", registry=bad)
    jobs = [round_of_work(yard)]
    while looping(yard) != {broken.id}:
        jobs.append(round_of_work(yard))
    for job in jobs:
        assert yard.states(job) == {State.SUCCEEDED: 4}
        assert {one.worker_id for one in yard.store.read_after(job, -1, 4)} == {good.id}


def round_of_work(yard: Yard) -> str:
    job = yard.submit("drill", *[{"seconds": 0.05}] * 4, model="twin")
    until(lambda: yard.finished(job))
    return job


def looping(yard: Yard) -> set[str]:
    return {worker.id for worker in yard.store.list_workers() if worker.report.get("crash_loop")}
