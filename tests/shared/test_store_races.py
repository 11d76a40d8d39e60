"""What a person or a keeper changes while a worker's transaction is in flight on the same rows."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, event, text

from genfarm_shared.chains import CUT_OFF, ChainRecord, Plan, Step
from genfarm_shared.store import Store
from genfarm_shared.store.concluding import End, write_ends
from genfarm_shared.store.strides import claim_batch, record_batch
from genfarm_shared.tasks import JobRecord, State, Task
from tests.waiting import until

from .farmyard import add_job, add_worker, commit, done, failed, ids, states


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """A store whose writers wait for single rows: SQLite lets one transaction in at a time."""
    found = Store(postgres_url)
    found.write(lambda c: c.execute(text("TRUNCATE jobs, chains, workers CASCADE")))
    yield found
    found.close()


@contextmanager
def waiting_for(
    store: Store, verb: Callable[[], object]
) -> Iterator[tuple[Connection, list[object]]]:
    """A transaction that ends once `verb` waits for it; then the list holds what that returned."""
    said: list[object] = []
    thread = threading.Thread(target=lambda: said.append(verb()))
    blocked = text(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
        "current_database()"
    )
    with store._transaction(write=True) as connection:
        yield connection, said
        thread.start()
        until(lambda: store.read(lambda c: c.execute(blocked).first()) is not None)
    thread.join(30)


def test_what_is_recorded_while_it_is_cancelled_stays_recorded(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    claims = store.claim(ids(job, 1), "w1")
    with waiting_for(store, lambda: store.cancel(job.id)) as (connection, said):
        record_batch(connection, [done(claims[0])], "w1", None)
    assert said == [0]
    assert states(store, job) == {State.SUCCEEDED: 1}
    assert store.count_attempts([job.id]) == {"succeeded": 1}


def test_what_is_claimed_while_it_is_cancelled_is_cancelled_with_its_attempt(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    with waiting_for(store, lambda: store.cancel(job.id)) as (connection, said):
        claim_batch(connection, ids(job, 1), "w1", None, again=False)
    assert said == [1]
    assert states(store, job) == {State.CANCELLED: 1}
    assert store.count_attempts([job.id]) == {"cancelled": 1}


def test_what_is_claimed_while_it_expires_goes_on(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    with waiting_for(store, store.expire) as (connection, said):
        claim_batch(connection, ids(job, 1), "w1", None, again=False)
        store.write(lambda c: c.execute(text("UPDATE jobs SET deadline = 1")))
    assert said == [0]
    assert states(store, job) == {State.RUNNING: 1}


def test_two_who_retry_at_once_retry_once(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    commit(store, failed(store.claim(ids(job, 1), "w1")[0]))
    with waiting_for(store, lambda: store.retry(job.id, [State.FAILED])) as (connection, said):
        again = "UPDATE tasks SET state = 'pending', finished_at = NULL, retries = 1"
        connection.execute(text(again))
        claim_batch(connection, ids(job, 1), "w1", None, again=False)
    assert said == [0]
    assert states(store, job) == {State.RUNNING: 1}


def test_a_job_that_goes_while_it_is_looked_for_is_begun_anew(store: Store) -> None:
    first = add_job(store, 1, identity="one", released=False)

    @event.listens_for(store._engine, "before_cursor_execute")
    def withdraw(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT jobs.id, jobs.identity"):
            store.discard(first.id)

    found, is_ours = store.open_job(replace(first, id="again"))
    assert (found.id, is_ours) == ("again", True)


def test_what_is_cut_off_while_its_item_is_retried_is_forgotten_to_the_last_stage(
    store: Store,
) -> None:
    plan = Plan(tuple(Step(name, "sleep", "sleep") for name in "abc"))
    chain = ChainRecord("chain_race", plan.to_json(), 1.0)
    store.open_chain(chain)
    for job_id in chain.job_ids:
        store.open_job(JobRecord(job_id, "sleep", "sleep", {}, 1.0, released=True))
    row = [Task(f"{i}-0", i, 0, "0", "sleep", "sleep", "sleep", 1, {}, 0) for i in chain.job_ids]
    store.insert(row[:1])
    add_worker(store)
    commit(store, failed(store.claim([row[0].id], "w1")[0]))
    store.conclude([End(row[1], State.CANCELLED, {row[0].id: State.FAILED}, CUT_OFF)])
    last = End(row[2], State.CANCELLED, {row[1].id: State.CANCELLED}, CUT_OFF)
    again = lambda: store.retry(chain.job_ids[0], [State.FAILED])  # noqa: E731
    with waiting_for(store, again) as (connection, said):
        assert write_ends(connection, [last], 1.0) == [row[2].id]
    assert said == [1]
    assert [store.count([i])[i] for i in chain.job_ids] == [{State.PENDING: 1}, {}, {}]
