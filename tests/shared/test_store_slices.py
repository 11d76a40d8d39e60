"""What changes very many rows lets others in between, and can be repeated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from genfarm_shared.errors import JobConflict
from genfarm_shared.store import Store
from genfarm_shared.store.database import SLICE
from genfarm_shared.store.mending import EXPIRED_JOBS
from genfarm_shared.tasks import State

from .farmyard import add_job, add_worker, commit, failed, ids, make_task, states

MANY = 2 * SLICE + 7


class CutOff(Exception):
    """The process died here."""


def count_writes(store: Store, monkeypatch: pytest.MonkeyPatch, most: int = 1000) -> list[bool]:
    """A mark for each write transaction; the one after `most` does not come about."""
    transaction, writes = store._transaction, list[bool]()

    @contextmanager
    def counting(*, write: bool, is_single: bool = False) -> Iterator[Connection]:
        if write and len(writes) == most:
            raise CutOff
        with transaction(write=write, is_single=is_single) as connection:
            yield connection
        writes.extend([True] * write)

    monkeypatch.setattr(store, "_transaction", counting)
    return writes


def test_a_huge_job_is_cancelled_in_slices_that_go_on_after_a_crash(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, MANY)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    with monkeypatch.context() as patch:
        count_writes(store, patch, most=1)
        with pytest.raises(CutOff):
            store.cancel(job.id)
    assert states(store, job)[State.CANCELLED] == SLICE
    assert store.cancel(job.id) == MANY - SLICE
    assert states(store, job) == {State.CANCELLED: MANY}
    assert commit(store, failed(claim)).fenced == {claim.task_id}
    assert store.count_attempts([job.id]) == {"cancelled": 1}


def test_a_huge_job_is_retried_and_removed_in_slices(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, MANY)
    store.cancel(job.id)
    writes = count_writes(store, monkeypatch)
    assert store.retry(job.id, [State.CANCELLED]) == MANY
    assert len(writes) > MANY // SLICE
    assert states(store, job) == {State.PENDING: MANY}
    store.cancel(job.id)
    writes.clear()
    store.remove(job.id)
    assert len(writes) > MANY // SLICE
    assert store.list_jobs() == []


def test_a_huge_job_expires_and_is_requeued_in_slices(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, MANY, deadline=1.0)
    store.dispatch(MANY)
    writes = count_writes(store, monkeypatch)
    assert store.requeue(ids(job, MANY)) == MANY
    assert len(writes) > MANY // SLICE
    writes.clear()
    assert store.expire() == MANY
    assert len(writes) > MANY // SLICE
    assert states(store, job) == {State.EXPIRED: MANY}


def test_many_late_jobs_expire_in_calls_that_each_end_soon(store: Store) -> None:
    late = [add_job(store, 1, deadline=1.0 + number) for number in range(EXPIRED_JOBS + 3)]
    assert (store.expire(), states(store, late[-1])) == (EXPIRED_JOBS, {State.PENDING: 1})
    assert [store.expire(), store.expire()] == [3, 0]


def test_what_fails_again_while_it_is_retried_is_not_retried_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, 3)
    add_worker(store)
    commit(store, *map(failed, store.claim(ids(job, 3), "w1")))
    in_slices, slices = store.write_in_slices, list[int]()

    def failing(step: Callable[[Connection], int]) -> int:
        def work(connection: Connection) -> int:
            if len(slices) == 9:
                raise CutOff
            again = "UPDATE tasks SET state = 'failed', finished_at = 9e9 WHERE state = 'pending'"
            connection.exec_driver_sql(again)
            slices.append(step(connection))
            return slices[-1]

        return in_slices(work)

    monkeypatch.setattr(store, "write_in_slices", failing)
    assert store.retry(job.id, [State.FAILED]) == 3


def test_a_job_that_its_beginner_withdraws_is_not_sealed_by_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, MANY, released=False)
    with monkeypatch.context() as patch:
        count_writes(store, patch, most=1)
        with pytest.raises(CutOff):
            store.discard(job.id)
    with pytest.raises(JobConflict, match=r"withdrawn .* submit again"):
        store.seal(job.id, MANY)
    store.discard(job.id)
    with pytest.raises(JobConflict, match="withdrawn"):
        store.seal(job.id, 0)
    with pytest.raises(JobConflict, match="withdrawn"):
        store.insert([make_task(job, 0)])
    assert store.list_jobs() == []
