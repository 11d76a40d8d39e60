"""Which models are left alone, for how long, and what becomes of their tasks."""

from dataclasses import replace

import pytest

from genfarm_shared.tasks import Claim, WorkerRecord
from genfarm_workers.bench import LONGEST_REST, LOOP_REST, TRIES, Bench
from genfarm_workers.verdict import Death, judge

CLAIM = Claim("t", "j", 1, "drill", "m", "m", 1, {}, 0)
NODE = WorkerRecord("w2", "n", "h", 1, "cpu", "alive", [{"key": "m"}], "0", 0.0, 0.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock)


def fail(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.blame("m", "no file")


def test_a_model_rests_a_little_longer_after_each_failed_load(bench: Bench, clock: Clock) -> None:
    rests = []
    for _ in range(TRIES + 20):
        fail(bench, 1)
        bench.look([NODE], "w1")  # so that it stays closed, and its tasks go there
        began = clock.now
        while bench.is_closed("m"):
            clock.now += 0.5
        rests.append(clock.now - began)
    assert rests[: TRIES + 1] == [1.0, 2.0, LOOP_REST, 2 * LOOP_REST]
    assert rests[-1] == LONGEST_REST
    assert not bench.is_closed("other")


def test_tasks_are_failed_only_in_a_crash_loop_that_no_other_worker_can_help(
    bench: Bench, clock: Clock
) -> None:
    fail(bench, TRIES - 1)
    assert bench.verdict("m") is None
    fail(bench, 1)
    assert "no file (tried 3 times" in (bench.verdict("m") or "")
    assert not bench.is_closed("m")  # they are taken to be failed
    bench.look([NODE], "w1")
    assert bench.verdict("m") is None
    assert bench.is_closed("m")
    clock.now += LOOP_REST
    assert not bench.is_closed("m")  # time for another try
    bench.clear("m")
    assert bench.report()["crash_loop"] == {}


@pytest.mark.parametrize(
    "other",
    [
        replace(NODE, id="w1"),
        replace(NODE, state="draining"),
        replace(NODE, models=[{"key": "another"}]),
        replace(NODE, report={"parked": "sick"}),
        replace(NODE, report={"crash_loop": {"m": "no file"}}),
    ],
)
def test_a_worker_that_cannot_load_it_either_is_no_help(bench: Bench, other: WorkerRecord) -> None:
    fail(bench, TRIES)
    bench.look([other], "w1")
    assert bench.verdict("m") is not None


def test_a_parked_worker_takes_nothing_until_an_engine_runs(bench: Bench) -> None:
    bench.park("sick")
    assert bench.is_closed("m")
    assert bench.report()["parked"] == "sick"
    bench.unpark()
    assert not bench.is_closed("m")


def test_an_engine_that_never_began_or_has_a_sick_device_accuses_nobody(bench: Bench) -> None:
    assert judge(Death([CLAIM], "r", was_ready=False), None, bench).returned == [CLAIM]
    assert judge(Death([CLAIM], "r", lost_device=True), "sick", bench).returned == [CLAIM]
    assert judge(Death([CLAIM], "r", was_hung=True), "sick", bench).returned == [CLAIM]


def test_a_death_of_loading_gives_every_task_back_until_it_is_a_crash_loop(bench: Bench) -> None:
    mate = replace(CLAIM, task_id="u", model="other")
    death = Death([CLAIM, mate], "r", loading="m")
    fail(bench, 1)
    assert judge(death, None, bench).returned == [CLAIM, mate]
    fail(bench, TRIES)
    verdict = judge(death, None, bench)
    assert (verdict.returned, [one.claim for one in verdict.ended]) == ([mate], [CLAIM])


def test_a_lost_device_makes_suspects_and_convicts_none(bench: Bench) -> None:
    lone = replace(CLAIM, suspect="g-0")
    mates = judge(Death([CLAIM, lone], "r", lost_device=True), None, bench)
    assert (mates.suspects, mates.is_lenient) == ([CLAIM, lone], True)
    (ended,) = judge(Death([lone], "r", lost_device=True), None, bench).ended
    assert ended.output.failure is not None
    assert (ended.output.failure.code, ended.output.failure.retryable) == ("device_lost", True)
