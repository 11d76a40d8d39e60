"""What is written, and when nothing is: checks, seeds, names, broken submissions."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import genfarm.submission
from genfarm import Farm, InvalidTask, JobConflict, Unreachable
from genfarm_shared.kinds.params import MAX_SEED
from genfarm_shared.store import Store
from genfarm_shared.tasks import State, Task

from .tiny_worker import TinyWorker, states

pytestmark = pytest.mark.usefixtures("worker")


def _params(farm: Farm, job_id: str) -> list[dict[str, Any]]:
    return [dict(record.params) for record in farm._link.store.read_after(job_id, -1, 1000)]


def test_an_input_goes_before_params_which_go_before_defaults(farm: Farm) -> None:
    inputs = ["a", {"prompt": "b", "temperature": 0.5}, {"prompt": "c", "seed": 99}]
    job = farm.submit_many("gen", inputs, params={"temperature": 0.1, "top_k": 3, "seed": 10})
    found = [(p["temperature"], p["top_k"], p["top_p"], p["seed"]) for p in _params(farm, job.id)]
    assert found == [(0.1, 3, 1.0, 10), (0.5, 3, 1.0, 11), (0.1, 3, 1.0, 99)]


def test_without_a_seed_input_i_gets_seed_i(farm: Farm) -> None:
    job = farm.submit_many("gen", ["a"] * 3)
    assert [p["seed"] for p in _params(farm, job.id)] == [0, 1, 2]


def test_work_is_in_the_broker_as_soon_as_submit_returns(farm: Farm) -> None:
    job = farm.submit_many("gen", ["a", "b"])
    assert states(farm, job.id) == {State.QUEUED: 2}
    assert {f"{job.id}-0", f"{job.id}-1"} <= farm._link._broker.task_ids()


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (["a", 5], {}, "input 1: prompt=5"),
        (["a", {"prompt": "b", "heat": 1}], {}, "input 1: heat is not a parameter"),
        (["a"], {"params": {"heat": 1}}, "heat is not a parameter of text-generation"),
        (["a"], {"params": {"seed": "x"}}, "seed='x': expected a whole number"),
        (["a", "b"], {"params": {"seed": MAX_SEED}}, "input 1: seed="),
        (["a"], {"priority": 10}, "priority=10: expected 0"),
        (["a"], {"name": ""}, "name='': expected"),
        (["a"], {"on_conflict": "maybe"}, "on_conflict='maybe': expected"),
        (["a"], {"name": 5}, "name=5: expected 1 to 200 printable"),
        (["a"], {"metadata": "x"}, "metadata='x': expected a mapping of strings"),
        (["a"], {"params": [1]}, r"params=\[1\]: expected a mapping"),
        (["a"], {"id_from": 5}, "id_from=5: expected the name of a key"),
        (["a", "b"], {"id_from": {"a": "x"}.__getitem__}, "input 1: id_from failed: KeyError"),
        (["a", 5], {}, "input 1: .* Nothing was submitted; correct it"),
        (["a"], {"deadline": "noon"}, "deadline='noon': expected"),
        ([{"prompt": "a", "id": "x"}, {"prompt": "b", "custom_id": "x"}], {}, "taken by input 0"),
        (["a", {"prompt": "b", "id": "000000"}], {}, "taken by input 0"),
        ([{"prompt": "b", "id": "000001"}, "a"], {}, "taken by input 0"),
        ([{"prompt": "a", "id": "x" * 201}], {}, "201 characters"),
        ("one prompt", {}, "inputs is one str; expected a list"),
        ({"prompt": "a"}, {}, "inputs is one dict; expected a list"),
        (7, {}, "inputs is one int; expected a list"),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(
    farm: Farm, inputs: object, options: Any, said: str
) -> None:
    with pytest.raises(InvalidTask, match=said):
        farm.submit_many("gen", inputs, **options)
    assert farm.jobs() == []


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("gen", "sd15", "unknown model 'sd15'; .* announce echo, shout"),
        ("gen", "blocks", "a text-to-image model, not text-generation; .* echo, shout"),
        ("gen", "https://x/y", "not a registry key"),
        ("draw", None, "unknown kind 'draw'"),
    ],
)
def test_a_model_must_be_announced_for_its_kind(
    farm: Farm, kind: str, model: str | None, said: str
) -> None:
    with pytest.raises(InvalidTask, match=said):
        farm.submit_many(kind, ["a"], model=model)
    assert farm.jobs() == []


def test_the_default_model_is_the_announced_then_the_builtin(farm: Farm) -> None:
    assert farm.submit_many("gen", ["a"]).model == "echo"
    assert farm.submit_many("gen", ["a"], model="shout").model == "shout"
    assert farm.submit_many("sleep", [0.1]).model == "sleep"
    farm._link.store.retire("tiny", "gone home")
    assert farm.submit_many("gen", ["a"]).model == "echo"


def test_the_same_content_is_the_same_job(farm: Farm) -> None:
    first = farm.submit_many("gen", ["a", "b"], params={"top_k": 2})
    same = farm.submit_many("text-generation", ({"prompt": p, "top_k": 2} for p in "ab").__iter__())
    again = farm.submit_many("gen", [{"prompt": p, "top_k": 2} for p in "ab"], model="echo")
    other = farm.submit_many("gen", ["a", "b"])
    assert again.id == first.id
    assert len({first.id, other.id, same.id}) == 3  # a generator is always a new job


def test_a_submission_that_died_midway_is_completed_not_doubled(
    farm: Farm, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genfarm.submission, "CHUNK", 10)
    insert, calls = Store.insert, 0

    def dying(store: Store, new: list[Task], window: int = 0) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return insert(store, new, window)

    monkeypatch.setattr(Store, "insert", dying)
    monkeypatch.setattr(Store, "discard", lambda *_: None)  # as after a kill -9
    prompts = [f"p{i}" for i in range(45)]
    with pytest.raises(KeyboardInterrupt):
        farm.submit_many("gen", prompts, name="big")
    begun = farm.job("big")
    assert (begun.total, sum(states(farm, begun.id).values())) == (None, 20)
    assert not farm._link._broker.task_ids()  # nothing of half a job is released
    job = farm.submit_many("gen", prompts, name="big")
    assert (job.id, job.total) == (begun.id, 45)
    assert worker.work() == 45


def test_a_submission_that_fails_leaves_nothing(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise Unreachable("the disk is full")

    monkeypatch.setattr(Store, "insert", broken)
    with pytest.raises(Unreachable):
        farm.submit_many("gen", ["a"], name="x")
    assert farm.jobs() == []


def test_resubmitting_runs_nothing_twice_and_leaves_the_failed(
    farm: Farm, worker: TinyWorker
) -> None:
    job = farm.submit_many("gen", ["a", "bad b"], name="once")
    worker.work()
    again = farm.submit_many("gen", ["a", "bad b"], name="once").wait(5)
    assert again.id == job.id
    assert worker.work() == 0
    assert "failed 1" in repr(again)
    assert "job.retry()" in repr(again)


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (["a", "B"], {}, r"input 1: prompt was 'b' and is now 'B'"),
        (["a", "b"], {"params": {"top_k": 5}}, r"input 0: top_k was 0 and is now 5"),
        (["a", "b", "c"], {}, r"number of inputs was 2 and is now 3"),
        (iter(["a"]), {}, r"number of inputs was 2 and is now '1'"),
        (iter(["a", "b", "c"]), {}, r"number of inputs was 2 and is now '3'"),
        (["a", "b"], {"model": "shout"}, r"model was 'echo' and is now 'shout'"),
        (["a", "b"], {"on_conflict": "error"}, r"exists already"),
    ],
)
def test_a_name_taken_by_other_content_shows_the_first_difference(
    farm: Farm, inputs: object, options: Any, said: str
) -> None:
    job = farm.submit_many("gen", ["a", "b"], name="mine")
    with pytest.raises(JobConflict, match=said):
        farm.submit_many("gen", inputs, name="mine", **options)
    assert [len(job) for job in farm.jobs()] == [2]
    assert states(farm, job.id) == {State.QUEUED: 2}


def test_on_conflict_new_takes_the_name_over(farm: Farm) -> None:
    old = farm.submit_many("gen", ["a"], name="mine")
    fresh = farm.submit_many("gen", ["b"], name="mine", on_conflict="new")
    assert fresh.id != old.id
    assert farm.submit_many("gen", ["b"], name="mine").id == fresh.id
    assert farm.submit_many("gen", ["a"], on_conflict="new").id != old.id


def test_a_named_job_keeps_its_model_when_another_becomes_the_default(farm: Farm) -> None:
    job = farm.submit_many("gen", ["a"], model="shout", name="mine")
    assert farm.submit_many("gen", ["a"], name="mine").id == job.id


def test_a_generator_runs_while_it_is_read(
    farm: Farm, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genfarm.submission, "CHUNK", 10)
    done: list[int] = []

    def prompts() -> Iterator[str]:
        for i in range(25):
            if i and i % 10 == 0:
                done.append(worker.work())
            yield f"p{i}"

    job = farm.submit_many("gen", prompts())
    assert done == [10, 10]
    assert job.total == 25


def test_a_generator_that_fails_cancels_what_it_gave(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genfarm.submission, "CHUNK", 10)

    def prompts(last: object) -> Iterator[object]:
        yield from (f"p{i}" for i in range(25))
        if last is None:
            raise OSError("the disk is gone")
        yield last

    with pytest.raises(InvalidTask, match=r"input 25.*the disk is gone") as caught:
        farm.submit_many("gen", prompts(None), name="mine")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.index == 25
    with pytest.raises(InvalidTask, match="input 25: prompt=5") as caught:
        farm.submit_many("gen", prompts(5), name="mine")
    assert "The inputs before it were cancelled" in str(caught.value)
    assert "Nothing was submitted" not in str(caught.value)
    for job in farm.jobs():
        assert states(farm, job.id) == {State.CANCELLED: 20}
        assert job.wait(1).status().is_done
    # The name is free for the corrected generator.
    assert len(farm.submit_many("gen", prompts("ok"), name="mine")) == 26


def test_a_named_generator_is_resumed(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", iter(["a", "b"]), name="mine")
    assert farm.submit_many("gen", iter(["a", "b"]), name="mine").id == job.id
    assert worker.work() == 2


def test_a_deadline_counts_from_now(farm: Farm) -> None:
    job = farm.submit_many("gen", ["a"], deadline=timedelta(seconds=-1))
    farm._link.store.expire()
    assert states(farm, job.id) == {State.EXPIRED: 1}
    later = farm.submit_many("gen", ["b"], deadline=60)
    deadline = farm._link.store.find_job(later.id).deadline
    assert deadline is not None
    assert 50 < deadline - time.time() < 61


def test_an_empty_list_is_a_job_that_is_done(farm: Farm) -> None:
    job = farm.submit_many("gen", [])
    assert job.wait(1).status().is_done
    assert list(job) == []
