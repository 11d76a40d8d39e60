"""A resident with a fake engine: order, faults and memory, without a model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import pytest

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.resident import TURN_LOADS, DeviceLost, Resident
from genfarm_workers.engines.sleep import SleepEngine

from .fakes import Claimer, FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def resident(engine: FakeEngine) -> Resident:
    ticks = count()
    return Resident(engine, lambda: float(next(ticks)))


@pytest.fixture
def images(claim: Claimer) -> Callable[..., list[Claim]]:
    def make(names: str, **values: object) -> list[Claim]:
        return [claim(n, "text-to-image", "m", prompt=f"secret {n}", **values) for n in names]

    return make


Images = Callable[..., list[Claim]]


def finish(resident: Resident, claims: Sequence[Claim]) -> dict[str, Output]:
    for claim in claims:
        resident.enqueue(claim)
    outputs = []
    while resident.wakes_at(0.0) is not None:
        outputs += resident.advance()
    assert len(outputs) == len({output.task_id for output in outputs})
    return {output.task_id: output for output in outputs}


def test_batch_keys_take_turns_and_are_never_mixed(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    finish(resident, [*images("ab"), *images("c", size=48), *images("de")])
    assert engine.steps == [["a", "b", "d", "e"], ["c"]]


def test_a_task_wider_than_the_engine_goes_alone(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    finish(resident, [*images("a"), *images("b", n=20), *images("c")])
    assert engine.steps == [["a"], ["b"], ["c"]]


def test_outputs_say_how_many_tasks_ran_together_and_for_how_long(
    resident: Resident, images: Images
) -> None:
    outputs = finish(resident, images("abc"))
    assert outputs["a"].metrics["batch_size"] == 3
    assert outputs["a"].metrics["engine_seconds"] > 0


def test_a_poison_task_fails_alone_and_its_mates_succeed(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    engine.poison = {"c"}
    outputs = finish(resident, images("abcde"))
    assert [task_id for task_id, output in outputs.items() if output.failure] == ["c"]
    failure = outputs["c"].failure
    assert failure is not None
    assert (failure.code, failure.retryable) == ("internal", False)
    assert "ValueError" in failure.message
    assert "secret" not in failure.message
    assert engine.steps == [list("abcde"), *(list(name) for name in "abcde")]


def test_out_of_memory_halves_and_is_remembered(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    engine.most_tasks = 2
    outputs = finish(resident, images("abcdefgh"))
    assert all(output.failure is None for output in outputs.values())
    assert [len(step) for step in engine.steps] == [8, 4, 2, 2, 2, 2]
    engine.steps.clear()
    finish(resident, images("ijkl"))
    assert [len(step) for step in engine.steps] == [2, 2]


def test_out_of_memory_alone_is_a_failure(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    engine.most_tasks = 0
    outputs = finish(resident, images("ab"))
    codes = [output.failure.code for output in outputs.values() if output.failure]
    assert codes == ["oom", "oom"]


def test_a_lost_device_ends_the_process_and_fails_no_task(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    engine.is_lost = True
    resident.enqueue(images("a")[0])
    with pytest.raises(DeviceLost, match="CUDA error"):
        resident.advance()


def test_dropped_tasks_never_come_back(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    engine.poison = {"b"}
    for claim in images("abcd"):
        resident.enqueue(claim)
    resident.advance()
    resident.drop(["a", "b"])
    outputs = finish(resident, images("e"))
    assert sorted(outputs) == ["c", "d", "e"]


def test_a_task_that_the_engine_loses_fails_and_does_not_wait_for_ever(
    resident: Resident, engine: FakeEngine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "admit", lambda claims: None)
    outputs = finish(resident, images("a"))
    assert outputs["a"].failure is not None
    assert "bug" in outputs["a"].failure.message


def test_a_task_joins_an_engine_that_waits_for_another(claim: Claimer) -> None:
    entry = ModelEntry(key="sleep", kind="sleep", engine="sleep", slots=8)
    resident = Resident(SleepEngine(entry), count(0.0, 0.001).__next__)
    resident.enqueue(claim("first", "sleep", "sleep", seconds=60.0))
    resident.advance()
    assert (resident.wakes_at(1.0) or 0.0) > 50.0
    resident.enqueue(claim("second", "sleep", "sleep", seconds=60.0))
    assert resident.wakes_at(1.0) == 1.0


def test_a_key_that_keeps_coming_does_not_keep_another_from_the_engine(
    resident: Resident, engine: FakeEngine, images: Images
) -> None:
    """An engine that takes one key at a time is given the next after a few loads."""
    for number in range(8):
        resident.enqueue(images(f"{number}")[0])
    resident.enqueue(images("z", size=[16, 16])[0])
    for number in range(2 * TURN_LOADS):
        for claim in images("abcdefgh"):
            resident.enqueue(replace(claim, task_id=f"{claim.task_id}{number}"))
        resident.advance()
    assert ["z"] in engine.steps
    assert engine.steps.index(["z"]) <= TURN_LOADS
