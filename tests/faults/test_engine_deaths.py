"""Whatever ends an engine process or raises in it, only the culprit pays."""

from pathlib import Path

from genfarm_shared.drill import answer
from genfarm_shared.tasks import State
from tests.faults.drills import registry
from tests.waiting import until
from tests.yard import Yard

#: What becomes of a task with each fault, and what its reason must say.
FATES = {
    "segfault": (State.QUARANTINED, "quarantined", "SIGSEGV"),
    "exit": (State.QUARANTINED, "quarantined", "exited with code 9"),
    "kill": (State.QUARANTINED, "quarantined", "SIGKILL"),
    "memory-error": (State.FAILED, "oom", "Lower its size"),
    "system-exit": (State.FAILED, "internal", "SystemExit"),
    "raise": (State.FAILED, "internal", "ValueError"),
}


def start(yard: Yard, tmp_path: Path) -> None:
    """A worker that leans on no reconciling: a message that got lost would stay lost."""
    drills = registry(tmp_path, drill={})
    yard.start_worker("drill", registry=drills, reconcile_seconds=3600.0)


def test_each_way_of_dying_ends_one_task_with_its_reason(yard: Yard, tmp_path: Path) -> None:
    start(yard, tmp_path)
    secret = "a secret prompt that nobody may read"
    wrong = [{"fault": fault, "text": secret} for fault in FATES]
    job = yard.submit("drill", *wrong, *[{"text": secret}] * 4)
    until(lambda: yard.finished(job))
    records = yard.store.read_after(job, -1, 10)
    for record, (state, code, said) in zip(records, FATES.values(), strict=False):
        assert (record.state, record.reason_code) == (state, code)
        assert said in (record.reason or "")
        assert secret not in (record.reason or "")
    assert [r.output for r in records[6:]] == [{"answer": answer(i, secret)} for i in range(6, 10)]


def test_a_poison_task_among_32_is_found_in_three_crashes(yard: Yard, tmp_path: Path) -> None:
    start(yard, tmp_path)
    innocents = [{"seconds": 0.4}] * 31
    job = yard.submit("drill", *innocents, {"fault": "segfault"})
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 31, State.QUARANTINED: 1}
    (culprit,) = yard.store.read_after(job, 30, 1)
    assert culprit.attempt <= 3
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 0)
    assert yard.store.list_workers()[0].report["deaths"] <= 3
    assert yard.store.count_attempts([job])["quarantined"] == 1
