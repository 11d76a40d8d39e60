"""`Farm.chain` as a person meets it: written whole, found again, and each item told in full."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, update

from genfarm import Best, Farm, InvalidTask, ItemCancelled, JobConflict, NotFound, Stage
from genfarm.chain import Chain
from genfarm_shared.advancing import Advancer
from genfarm_shared.schema import jobs
from genfarm_shared.tasks import State

from .tiny_worker import TinyWorker

TWICE = [Stage("text-generation", name="ask"), Stage("text-generation", prompt="{text} again")]


def work_off(farm: Farm, worker: TinyWorker, chain: Chain) -> Chain:
    """Run tasks and move items on, until the chain has ended."""
    advancer = Advancer(farm._link.store, farm._link._broker, 1000)
    for _ in range(20):
        worker.work()
        advancer.sweep()
        if farm._link.store.find_chain(chain.id).ended_at is not None:
            return chain
    raise AssertionError(repr(chain))


def test_each_item_passes_every_stage_and_tells_of_all(farm: Farm, worker: TinyWorker) -> None:
    chain = work_off(farm, worker, farm.chain(TWICE, ["a", "b"]))
    results = list(chain)
    assert [r.custom_id for r in results] == ["000000", "000001"]
    assert [r.stages["ask"].text for r in results] == ["a 0:0", "b 0:1"]
    assert [r.input for r in results] == ["a 0:0 again", "b 0:1 again"]
    assert list(results[0].stages) == list(chain.stages) == ["ask", "text-generation"]
    assert chain.wait(5).status().is_done
    assert repr(chain).count("succeeded 2") == 2


def test_the_same_content_is_the_same_chain(farm: Farm, worker: TinyWorker) -> None:
    first = farm.chain(TWICE, ["a", "b"])
    assert farm.chain(TWICE, ["a", "b"]).id == first.id
    assert farm.chain(TWICE[:1], ["a", "b"]).id != first.id
    assert farm.chain(TWICE, ["a", "c"]).id != first.id
    assert farm.chain(TWICE, ["a", "b"], on_conflict="new").id != first.id
    assert len(farm.chains()) == 4
    assert first.stage("ask").total == first.stage(1).total == 2


def test_a_name_finds_a_chain_and_refuses_other_content(farm: Farm, worker: TinyWorker) -> None:
    chain = farm.chain(TWICE, ["a"], name="twice")
    copy = pickle.loads(pickle.dumps(chain))  # noqa: S301  # our own
    assert farm.find_chain("twice").id == copy.id == chain.id
    assert farm.job("twice/ask").id == chain.stage("ask").id
    with pytest.raises(JobConflict, match="it has 2 and not 1"):
        farm.chain(TWICE[:1], ["a"], name="twice")
    with pytest.raises(JobConflict, match="input 0: prompt was 'a' and is now 'b'"):
        farm.chain(TWICE, ["b"], name="twice")
    with pytest.raises(JobConflict, match="exists already"):
        farm.chain(TWICE, ["a"], name="twice", on_conflict="error")
    with pytest.raises(NotFound, match="genfarm chains ls"):
        farm.find_chain("thrice")


def test_nothing_is_written_of_a_chain_that_cannot_work(farm: Farm, worker: TinyWorker) -> None:
    picture = Stage("text-to-image", prompt="{text}", size="{text}")
    with pytest.raises(InvalidTask, match=r"stage 2 \(text-to-image\): size"):
        farm.chain(["text-generation", picture], ["a"])
    style = Stage("text-generation", prompt="{text} in {input.style}", name="dress")
    with pytest.raises(InvalidTask, match=r"input 1: stage 2 \(dress\): prompt: there is no"):
        farm.chain([TWICE[0], style], [{"prompt": "a", "style": "oil"}, {"prompt": "b"}])
    assert not farm.chains()
    assert not farm.jobs()


class Interrupted(list[str]):
    """Inputs whose reader is stopped the second time."""

    reads = 0

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        if self.reads == 2:
            raise KeyboardInterrupt
        return super().__iter__()


def test_a_submission_that_breaks_off_leaves_nothing(farm: Farm, worker: TinyWorker) -> None:
    with pytest.raises(KeyboardInterrupt):
        farm.chain(TWICE, Interrupted(["a"]), name="twice")
    assert not farm.chains()
    assert not farm.jobs()
    assert len(farm.chain(TWICE, ["a"], name="twice")) == 1


def test_a_half_written_chain_is_completed_by_the_same_call(farm: Farm, worker: TinyWorker) -> None:
    """As a client that was killed leaves it: the head is there, and no job."""
    chain = farm.chain(TWICE, ["a", "b"], name="twice")
    store = farm._link.store
    for job_id in chain._record.job_ids:
        store.remove(job_id)
    again = farm.chain(TWICE, ["a", "b"], name="twice")
    assert again.id == chain.id
    assert [r.ok for r in work_off(farm, worker, again)] == [True, True]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("word", ["chain", "job"])
def test_a_chain_cancelled_half_written_gives_its_name_up(
    farm: Farm, worker: TinyWorker, word: str
) -> None:
    """As a client that was killed within its items leaves it, and a person who tidies up."""
    chain = farm.chain(TWICE, ["a", "b"], name="twice")
    store = farm._link.store
    half = update(jobs).where(jobs.c.id == chain.stage(0).id).values(total=None, released=False)
    store.write(lambda connection: connection.execute(half))
    (chain if word == "chain" else chain.stage(0)).cancel()
    again = farm.chain(TWICE, ["a", "b"], name="twice")
    assert again.id != chain.id
    assert [r.ok for r in work_off(farm, worker, again)] == [True, True]


def test_a_later_stage_may_look_at_the_item_again(farm: Farm, worker: TinyWorker) -> None:
    ask = Stage("text-generation", prompt="draw {input}", name="ask")
    dress = Stage("text-generation", prompt="{input} of {input.style}")
    items = [{"prompt": "a", "style": "oil", "id": "x"}, {"prompt": "b", "style": "ink", "seed": 9}]
    chain = work_off(farm, worker, farm.chain([ask, dress], iter(items)))
    results = list(chain)
    assert [r.input for r in results] == ["a of oil", "b of ink"]
    assert [r.stages["ask"].text for r in results] == ["draw a 0:0", "draw b 0:9"]
    assert results[0].custom_id == "x"


def test_items_of_a_stream_are_written_together_and_before_their_tasks(
    farm: Farm, worker: TinyWorker
) -> None:
    written: list[str] = []
    tables = {f"INSERT INTO {table} " for table in ("chain_inputs", "tasks")}

    @event.listens_for(farm._link.store._engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        written.extend(table.split()[2] for table in tables if statement.startswith(table))

    dress = Stage("text-generation", prompt="{text} of {input.style}")
    items = ({"prompt": f"{i}", "style": "oil"} for i in range(40))
    chain = farm.chain([TWICE[0], dress], items, name="dressed")
    assert len(written) < 40
    assert written == ["chain_inputs", "tasks"] * (len(written) // 2)
    assert all(result.ok for result in work_off(farm, worker, chain).results())


def test_the_best_of_several_goes_on(farm: Farm, worker: TinyWorker) -> None:
    """The tiny worker echoes a seed, so that every twin says another number."""
    fan = Stage("text-generation", name="ask", times=4)
    floats = Stage("batch-floats", values=[1.0], seed=3)
    chain = farm.chain([fan, Best("seed"), floats], ["a", "b"])
    results = list(work_off(farm, worker, chain))
    for number, result in enumerate(results):
        rivals = [record.seed for record in chain.stage("ask")][4 * number : 4 * number + 4]
        assert result.stages["best"].seed == result.stages["ask"].seed == max(rivals)
        assert result.stages["best"].text == result.stages["ask"].text
        assert result.values == [2.0]
    assert [len(chain.stage(i)) for i in range(3)] == [8, 2, 2]


def test_an_item_that_failed_says_in_which_stage_and_retry_takes_it_on(
    farm: Farm, worker: TinyWorker
) -> None:
    chain = work_off(farm, worker, farm.chain(TWICE, ["a", "bad"]))
    good, bad = chain.results(ordered=True)
    assert good.ok
    assert isinstance(bad.error, ItemCancelled)
    assert "stage 1 (ask) failed" in str(bad.error)
    assert [error.code for error in chain.errors()] == ["invalid_params"]
    assert chain.status().failed == 1
    assert chain.retry() == 1
    assert not chain.status().is_done
    assert work_off(farm, worker, chain).status().stages["ask"].counts[State.FAILED] == 1


def test_a_cancelled_chain_ends_and_is_taken_up_again(farm: Farm, worker: TinyWorker) -> None:
    chain = farm.chain(TWICE, ["a", "b"])
    worker.work(1)
    assert chain.cancel() == 1
    work_off(farm, worker, chain)
    assert [len(list(chain.results(errors="skip"))), chain.status().is_done] == [0, True]
    assert chain.retry() == 0
    work_off(farm, worker, chain)
    assert [error.code for error in chain.errors()] == ["cancelled", "chain_cancelled"]
    assert chain.retry("all") == 1
    assert all(result.ok for result in work_off(farm, worker, chain).results())


def test_a_chain_is_saved_stage_by_stage(farm: Farm, worker: TinyWorker, tmp_path: Path) -> None:
    chain = farm.chain([Stage("text-generation", name="ask"), "text-to-image"], ["a"], priority=3)
    work_off(farm, worker, chain).save(tmp_path / "out")
    assert (tmp_path / "out" / "ask" / "results.jsonl").is_file()
    assert (tmp_path / "out" / "text-to-image" / "images" / "000000.png").is_file()
    assert next(iter(chain)).image is not None
