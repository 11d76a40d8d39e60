"""Items are futures, to the standard library and to asyncio."""

import asyncio
import concurrent.futures
import pickle
import threading
from concurrent.futures import CancelledError
from typing import cast

import pytest

from genfarm import (
    Farm,
    GenfarmError,
    Item,
    ItemCancelled,
    ItemExpired,
    ItemFailed,
    ItemTimeout,
    NotFound,
)
from genfarm.watcher import Watcher
from genfarm_shared.tasks import State, TaskRecord

from .tiny_worker import TinyWorker


def test_submit_gives_a_future_of_one_result(farm: Farm, busy: TinyWorker) -> None:
    item = farm.submit("gen", "a", temperature=0.5, seed=4, custom_id="mine")
    assert isinstance(item, concurrent.futures.Future)
    result = item.result(10)
    assert (result.text, result.custom_id, result.params["temperature"]) == ("a 0:4", "mine", 0.5)
    assert (item.state, item.custom_id, item.index) == (State.SUCCEEDED, "mine", 0)


def test_submit_always_makes_a_new_task(farm: Farm, worker: TinyWorker) -> None:
    assert farm.submit("gen", "a").id != farm.submit("gen", {"prompt": "a"}).id
    assert farm.submit("floats", values=[1.0]).state is State.QUEUED


def test_the_standard_library_takes_items(farm: Farm, busy: TinyWorker) -> None:
    items = [farm.submit("gen", f"p{i}", seed=i) for i in range(20)]
    done = {item.result().text for item in concurrent.futures.as_completed(items, timeout=10)}
    assert done == {f"p{i} 0:{i}" for i in range(20)}
    assert concurrent.futures.wait(items, timeout=1).not_done == set()


def test_asyncio_takes_items(farm: Farm, busy: TinyWorker) -> None:
    async def main() -> list[str | None]:
        items = [farm.submit("gen", f"p{i}") for i in range(3)]
        results = await asyncio.gather(*map(asyncio.wrap_future, items))
        return [result.text for result in results]

    assert asyncio.run(main()) == ["p0 0:0", "p1 0:0", "p2 0:0"]


def test_an_item_that_is_late_raises_a_timeout(farm: Farm, worker: TinyWorker) -> None:
    item = farm.submit("gen", "a")
    with pytest.raises(ItemTimeout, match=r"not ended after 0.01 s"):
        item.result(0.01)
    with pytest.raises(TimeoutError):
        item.exception(0.01)
    worker.work()
    assert item.result(5).ok


def test_a_failed_item_raises_its_error(farm: Farm, busy: TinyWorker) -> None:
    item = farm.submit("gen", "bad")
    with pytest.raises(ItemFailed, match="no answer to bad"):
        item.result(10)
    assert isinstance(item.exception(1), ItemFailed)


def test_cancel_withdraws_the_task_in_the_store(farm: Farm, worker: TinyWorker) -> None:
    item, other = farm.submit("gen", "a"), farm.submit("gen", "b")
    called = threading.Event()
    item.add_done_callback(lambda _: called.set())
    assert item.cancel()
    assert item.cancel()
    assert (item.state, item.cancelled(), called.is_set()) == (State.CANCELLED, True, True)
    assert worker.work() == 1
    assert other.result(5).ok
    assert not other.cancel()
    with pytest.raises(ItemCancelled):
        item.result()
    with pytest.raises(CancelledError):
        item.exception()


def test_a_task_cancelled_elsewhere_cancels_its_future(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a", "b"])
    items = job.items()
    job.cancel()
    done = concurrent.futures.wait(items, timeout=5)
    assert not done.not_done
    assert all(item.cancelled() for item in items)


def test_an_expired_item_says_so(farm: Farm, worker: TinyWorker) -> None:
    item = farm.submit("gen", "a", deadline=-1)
    farm._link.store.expire()
    with pytest.raises(ItemExpired, match="deadline passed"):
        item.result(5)


def test_items_of_a_job_are_found_by_index_and_id(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "y"}])
    worker.work()
    assert job[0].id == job[-2].id == job["x"].id == f"{job.id}-0"
    assert job["y"].done()
    assert [item.result(5).text for item in job.items()] == ["a 0:0", "b 0:1"]
    with pytest.raises(IndexError, match="no task 2; it has 2"):
        job[2]
    with pytest.raises(NotFound, match="custom_id 'z'"):
        job["z"]


def test_a_closed_farm_leaves_no_future_waiting(farm: Farm, worker: TinyWorker) -> None:
    item = farm.submit("gen", "a")
    farm.close()
    with pytest.raises(GenfarmError, match="the farm was closed"):
        item.result(5)
    with pytest.raises(GenfarmError, match="open it again"):
        farm.submit("gen", "b")
    assert "watcher" not in " ".join(thread.name for thread in threading.enumerate())


def test_an_item_is_pickled_by_its_id(farm: Farm, worker: TinyWorker) -> None:
    item = farm.submit("gen", "a")
    copy = pickle.loads(pickle.dumps(item))  # noqa: S301
    assert isinstance(copy, Item)
    worker.work()
    assert copy.result(5).text == "a 0:0"
    copy._link.close()


def test_thousands_of_futures_resolve_with_one_thread(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(1200)])
    items = job.items()
    assert sum(t.name == "genfarm-watcher" for t in threading.enumerate()) == 1
    worker.work()
    assert not concurrent.futures.wait(items, timeout=20).not_done


def test_a_watcher_that_died_is_replaced_by_the_next(
    farm: Farm, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Watcher, "_ended", lambda *_: 1 / 0)
        lost = farm.submit("gen", "a")
        with pytest.raises(ZeroDivisionError):
            lost.result(5)
    item = farm.submit("gen", "b")
    worker.work()
    assert item.result(5).ok


def test_a_record_that_makes_no_result_harms_its_own_future_alone(
    farm: Farm, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = farm.submit_many("gen", ["a", "b"]).items()
    settle = Item.settle

    def failing(item: Item, record: TaskRecord) -> None:
        settle(item, record if record.index else cast("TaskRecord", None))

    monkeypatch.setattr(Item, "settle", failing)
    worker.work()
    assert items[1].result(5).ok
    with pytest.raises(AttributeError):
        items[0].result(5)


def test_a_cancelled_item_and_its_error_advise_what_runs_it_again(
    farm: Farm, worker: TinyWorker
) -> None:
    job = farm.submit_many("gen", ["a"])
    [item] = job.items()
    item.cancel()
    with pytest.raises(ItemCancelled, match=r"`job.retry\('all'\)`"):
        item.result()
    [error] = job.errors()
    assert "`job.retry('all')`" in str(error)
    assert repr(job).endswith("next: job.errors(), job.retry('all')")
    assert job.retry("all") == 1
