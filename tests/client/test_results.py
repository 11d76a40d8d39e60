"""Results come once each, in both orders, while the job runs."""

import pickle
from collections.abc import Iterator
from typing import Any, cast

import pytest

from genfarm import Farm, InvalidTask, ItemCancelled, ItemFailed, ItemTimeout, NotFound
from genfarm_shared.tasks import State

from .tiny_worker import TinyWorker


def test_a_list_of_prompts_becomes_texts_in_the_order_asked_for(
    farm: Farm, busy: TinyWorker
) -> None:
    job = farm.submit_many("text-generation", ["a", "b", "c"], params={"seed": 7})
    texts = [result.text for result in job.wait(20)]
    assert texts == ["a 0:7", "b 0:8", "c 0:9"]
    assert len(job) == 3


@pytest.mark.parametrize("ordered", [True, False])
def test_every_result_comes_exactly_once_while_the_job_runs(
    farm: Farm, busy: TinyWorker, ordered: bool
) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(800)])
    indexes = [result.index for result in job.results(ordered=ordered, timeout=30)]
    assert sorted(indexes) == list(range(800))
    assert indexes == sorted(indexes) or not ordered
    assert set(busy.runs.values()) == {1}


def test_unordered_results_do_not_wait_for_a_slow_first_task(
    farm: Farm, worker: TinyWorker
) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(40)])
    store = farm._link.store
    store.claim([f"{job.id}-0"], worker.id)  # the first is in hand and never ends
    worker.work()
    results = job.results()
    assert {next(results).index for _ in range(39)} == set(range(1, 40))


def test_a_span_of_results_is_just_that_span(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(50)])
    worker.work()
    for ordered in (True, False):
        found = {result.index for result in job.results(ordered=ordered, start=13, end=31)}
        assert found == set(range(13, 31))
    assert list(job.results(start=50)) == []


def test_results_that_do_not_come_in_time_raise_a_timeout(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a"])
    with pytest.raises(TimeoutError, match="goes on"):
        list(job.results(timeout=0.05))
    with pytest.raises(ItemTimeout, match="has not ended"):
        job.wait(0.05)


def test_failures_are_returned_skipped_or_raised_as_asked(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a", "bad b", "c"])
    worker.work()
    job.wait(10)
    returned = list(job.results(ordered=True))
    assert [result.ok for result in returned] == [True, False, True]
    assert [result.custom_id for result in job.results(errors="skip")] == ["000000", "000002"]
    with pytest.raises(ItemFailed, match=r"task 000001 .* no answer to bad b") as caught:
        list(job)
    assert (caught.value.code, caught.value.attempts) == ("invalid_params", 1)
    assert [error.custom_id for error in job.errors()] == ["000001"]
    with pytest.raises(ExceptionGroup, match="1 of 3 tasks"):
        job.raise_for_errors()


def test_retry_runs_the_failed_again_and_no_other(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a", "bad b", "bad c"])
    worker.work()
    assert job.retry(["000002"]) == 1
    worker.work()
    assert job.retry() == 2
    worker.work()
    assert [worker.runs[f"{job.id}-{i}"] for i in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="expected one of"):
        job.retry("some")


def test_cancel_withdraws_what_has_not_ended(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(10)])
    worker.work(4)
    assert job.cancel() == 6
    job.wait(5)
    assert job.status().counts[State.CANCELLED] == 6
    errors = job.errors()
    assert all(isinstance(error, ItemCancelled) for error in errors)
    assert job.retry("cancelled") == 6


def test_a_result_tells_all_of_its_task(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("txt2img", ["a red block"], params={"n": 2, "size": "64x48", "seed": 5})
    worker.work()
    result = next(iter(job))
    assert (result.input, result.seed, result.model) == ("a red block", 5, "blocks")
    assert result.params["size"] == [64, 48]
    assert [image.size for image in result.images] == [(16, 8), (16, 8)]
    assert result.image is not None
    assert result.image.getpixel((0, 0)) == (5, 0, 0)
    assert (result.timing.batch_size, result.timing.attempt) == (4, 1)
    assert result.timing.total_s is not None
    assert result.text is None
    copy = pickle.loads(pickle.dumps(result))  # noqa: S301
    assert copy.image is not None
    assert copy == result


def test_floats_come_back_as_floats(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("floats", [[1.0, 2.5], (3.0,)])
    worker.work()
    assert [result.values for result in job] == [[2.0, 5.0], [6.0]]


def test_a_job_is_found_again_by_name_id_and_pickle(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a"], name="mine", metadata={"who": "me"})
    assert farm.job("mine").id == farm.job(job.id).id == farm.jobs()[0].id == job.id
    copy = pickle.loads(pickle.dumps(job))  # noqa: S301
    assert (copy.id, copy.metadata, copy.total) == (job.id, {"who": "me"}, 1)
    with pytest.raises(NotFound, match="genfarm jobs ls"):
        farm.job("yours")


def test_map_gives_results_in_input_order(farm: Farm, busy: TinyWorker) -> None:
    prompts = [f"p{i}" for i in range(30)]
    texts = [result.text for result in farm.map("gen", prompts)]
    assert texts == [f"p{i} 0:{i}" for i in range(30)]


def test_map_does_not_exhaust_a_generator_before_the_first_result(
    farm: Farm, busy: TinyWorker
) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"p{taken}"

    results = farm.map("gen", endless())
    assert [next(results).index for _ in range(5)] == [0, 1, 2, 3, 4]
    assert taken <= 11_000
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    job = farm.jobs()[0]
    job.wait(10)
    assert job.status().is_done


def test_map_of_a_short_generator_ends(farm: Farm, busy: TinyWorker) -> None:
    found = farm.map("gen", (p for p in ["a", "bad", "c"]), ordered=False, errors="skip")
    assert {result.input for result in found} == {"a", "c"}
    assert list(farm.map("gen", iter([]))) == []


def test_map_refuses_an_option_that_it_does_not_have(farm: Farm, worker: TinyWorker) -> None:
    wrong: Any = {"max_new_tokens": 3}
    with pytest.raises(InvalidTask, match=r"max_new_tokens is not an option.*params=\{...\}"):
        farm.map("gen", ["a"], **wrong)
    assert farm.jobs() == []


def test_a_misspelt_word_for_errors_is_refused_at_the_call(farm: Farm, worker: TinyWorker) -> None:
    typo = cast("Any", "retrun")
    said = "errors='retrun': expected 'raise', 'return' or 'skip'"
    for inputs in (["a"], iter(["a"])):
        with pytest.raises(InvalidTask, match=said):
            farm.map("gen", inputs, errors=typo)
    assert farm.jobs() == []
    job = farm.submit_many("gen", ["a"])
    with pytest.raises(InvalidTask, match=said):
        job.results(errors=typo)


def test_map_left_between_two_inputs_leaves_no_open_job(
    farm: Farm, busy: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genfarm.submission.CHUNK", 1)
    monkeypatch.setattr("genfarm.flow.READ_AHEAD", 1)
    results = farm.map("gen", iter(["a", "b"]))
    assert next(results).input == "a"  # and all that is written so far has been given out
    cast("Any", results).close()
    assert farm.jobs()[0].wait(10).status().is_done
