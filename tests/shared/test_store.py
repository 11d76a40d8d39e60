"""One behaviour on every database: what is written, claimed, recorded and read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from genfarm_shared.errors import InvalidSetting, NotFound, Unreachable
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, State

from .farmyard import (
    add_job,
    add_worker,
    commit,
    done,
    failed,
    ids,
    make_task,
    states,
)


def fail_after_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write transaction commits, and its answer is lost on the way back."""
    transaction = store._transaction
    failures = iter([True])

    @contextmanager
    def losing(*, write: bool, is_single: bool = False) -> Iterator[Connection]:
        with transaction(write=write, is_single=is_single) as connection:
            yield connection
        if write and next(failures, False):
            raise OperationalError("COMMIT", None, Exception("connection lost"))

    monkeypatch.setattr(store, "_transaction", losing)


def test_what_insert_returned_for_is_there(store: Store) -> None:
    job = add_job(store, 3)
    records = store.read_after(job.id, -1, 10)
    assert [record.index for record in records] == [0, 1, 2]
    assert records[2].params == {"seconds": 0.0, "seed": 2}
    assert states(store, job) == {State.PENDING: 3}


def test_inserting_again_writes_nothing_twice(store: Store) -> None:
    job = add_job(store, 3)
    store.insert([make_task(job, index) for index in range(5)])
    assert states(store, job) == {State.PENDING: 5}


def test_a_job_of_the_same_identity_is_found_and_not_written(store: Store) -> None:
    first = add_job(store, 1, identity="name:foxes", name="foxes")
    again = replace(first, id="another")
    found, written = store.open_job(again)
    assert (found.id, written) == (first.id, False)


def test_only_one_of_many_workers_gets_a_task(store: Store) -> None:
    job = add_job(store, 40)
    for name in ("w1", "w2", "w3", "w4"):
        add_worker(store, name)
    won: list[str] = []

    def claim(worker: str) -> None:
        won.extend(claim.task_id for claim in store.claim(ids(job, 40), worker))

    threads = [threading.Thread(target=claim, args=(f"w{n}",)) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == ids(job, 40)


def test_a_claim_whose_answer_was_lost_is_claimed_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, 3)
    add_worker(store)
    fail_after_commit(store, monkeypatch)
    claims = store.claim(ids(job, 3), "w1")
    assert sorted(claim.task_id for claim in claims) == ids(job, 3)
    assert {claim.attempt for claim in claims} == {2}
    commit(store, *map(done, claims))
    assert store.count_attempts([job.id]) == {"released": 3, "succeeded": 3}
    times = "SELECT started_at, ended_at FROM attempts ORDER BY task_id, attempt"
    rows = store.read(lambda c: c.execute(text(times)).all())
    assert [rows[i].ended_at <= rows[i + 1].started_at for i in (0, 2, 4)] == [True] * 3


def test_a_job_and_its_tasks_are_written_once_by_many_at_once(store: Store) -> None:
    job = add_job(store, 0, identity="same", released=False)
    found: list[tuple[str, bool]] = []

    def submit(number: int) -> None:
        mine, written = store.open_job(replace(job, id=f"rival{number}", identity="one"))
        store.insert([make_task(mine, index) for index in range(20)])
        found.append((mine.id, written))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({job_id for job_id, _ in found}) == 1
    assert sum(written for _, written in found) == 1
    assert store.count([found[0][0]])[found[0][0]] == {State.PENDING: 20}


def test_a_worker_that_is_not_alive_claims_nothing(store: Store) -> None:
    job = add_job(store, 1)
    assert store.claim(ids(job, 1), "nobody") == []
    add_worker(store)
    store.retire("w1", "test")
    assert store.claim(ids(job, 1), "w1") == []


def test_a_result_is_recorded_once_however_often_it_is_committed(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    for _ in range(3):
        assert commit(store, done(claim, 7)).recorded == {claim.task_id}
    (record,) = store.read_tasks([claim.task_id])
    assert (record.state, record.output) == (State.SUCCEEDED, {"value": 7})
    assert store.count_results([job.id]) == 1
    assert store.count_attempts([job.id]) == {"succeeded": 1}


def test_a_result_of_an_older_attempt_is_refused(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    (old,) = store.claim(ids(job, 1), "w1")
    store.release([old], "given back")
    (new,) = store.claim(ids(job, 1), "w1")
    assert new.attempt == old.attempt + 1
    assert commit(store, done(old, "old")).fenced == {old.task_id}
    assert commit(store, done(new, "new")).recorded == {new.task_id}
    (record,) = store.read_tasks([new.task_id])
    assert record.output == {"value": "new"}


def test_a_cancelled_task_takes_no_later_result(store: Store) -> None:
    job = add_job(store, 2)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    assert store.cancel(job.id) == 2
    assert store.still_mine("w1") == frozenset()
    assert commit(store, done(claim)).fenced == {claim.task_id}
    assert states(store, job) == {State.CANCELLED: 2}


def test_a_failure_keeps_its_code_and_reason(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    commit(store, failed(claim))
    (record,) = store.read_tasks([claim.task_id])
    assert (record.state, record.reason_code, record.reason) == ("failed", "internal", "it broke")


def test_a_retryable_failure_comes_back_until_attempts_are_spent(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    for attempt in (1, 2, 3):
        (claim,) = store.claim(ids(job, 1), "w1")
        assert claim.attempt == attempt
        commit(store, failed(claim, retryable=True), max_attempts=3)
    assert states(store, job) == {State.FAILED: 1}
    assert store.count_attempts([job.id]) == {"retried": 2, "failed": 1}


def test_suspects_run_apart_and_a_crash_alone_convicts(store: Store) -> None:
    job = add_job(store, 2)
    add_worker(store)
    store.accuse(store.claim(ids(job, 2), "w1"), "segfault", was_killed=False)
    pair = store.claim(ids(job, 2), "w1")
    assert len({claim.suspect for claim in pair}) == 1
    store.accuse(pair, "segfault", was_killed=False)
    (alone,) = store.claim(ids(job, 1), "w1")
    assert alone.suspect not in {None, pair[0].suspect}
    store.accuse([alone], "segfault", was_killed=False)
    assert states(store, job) == {State.PENDING: 1, State.QUARANTINED: 1}


def test_three_crashes_find_the_one_culprit_of_a_batch(store: Store) -> None:
    job = add_job(store, 32)
    add_worker(store)
    culprit, crashes, waiting = ids(job, 32)[17], 0, [ids(job, 32)]
    while waiting:
        claims = store.claim(waiting.pop(0), "w1")
        if culprit not in {claim.task_id for claim in claims}:
            commit(store, *map(done, claims))
            continue
        crashes += 1
        store.accuse(claims, "segfault", was_killed=False)
        groups: dict[str, list[str]] = {}
        for hint in store.dispatch(100):
            groups.setdefault(hint.batch_key, []).append(hint.task_id)
        waiting += groups.values()
    assert crashes == 3
    assert states(store, job) == {State.SUCCEEDED: 31, State.QUARANTINED: 1}


def test_one_kill_from_outside_convicts_nobody(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    for crash in (1, 2, 3, 4):
        assert states(store, job) == {State.PENDING: 1}, crash
        store.accuse(store.claim(ids(job, 1), "w1"), "killed by SIGKILL", was_killed=True)
    assert states(store, job) == {State.QUARANTINED: 1}


def test_retry_makes_only_failed_tasks_pending_again(store: Store) -> None:
    job = add_job(store, 2)
    add_worker(store)
    first, second = sorted(store.claim(ids(job, 2), "w1"), key=lambda claim: claim.task_id)
    commit(store, done(first), failed(second))
    assert store.retry(job.id, [State.FAILED, State.SUCCEEDED]) == 1
    assert states(store, job) == {State.SUCCEEDED: 1, State.PENDING: 1}


def test_the_database_refuses_a_second_result_row(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    commit(store, done(store.claim(ids(job, 1), "w1")[0]))
    again = text(
        "INSERT INTO results SELECT task_id, attempt, worker_id, output, artifacts, metrics, "
        "recorded_at FROM results"
    )
    with pytest.raises(IntegrityError):
        store.write(lambda connection: connection.execute(again))


def test_ended_tasks_are_read_in_the_order_they_ended(store: Store) -> None:
    job = add_job(store, 3)
    add_worker(store)
    claims = {claim.task_id: claim for claim in store.claim(ids(job, 3), "w1")}
    for task_id in reversed(ids(job, 3)):
        commit(store, done(claims[task_id]))
    ended = store.read_ended(job.id, 0.0, 10)
    assert [record.index for record in ended] == [2, 1, 0]


def test_a_job_is_found_by_id_and_by_name(store: Store) -> None:
    job = add_job(store, 1, name="foxes")
    assert store.find_job(job.id).name == "foxes"
    assert store.find_job("foxes").id == job.id
    with pytest.raises(NotFound, match="'hens'"):
        store.find_job("hens")


def test_a_removed_job_leaves_no_row(store: Store) -> None:
    job = add_job(store, 2)
    add_worker(store)
    commit(store, done(store.claim(ids(job, 1), "w1")[0]))
    store.remove(job.id)
    assert store.read_after(job.id, -1, 10) == []
    assert store.count_results([job.id]) == 0


def test_an_unreleased_job_can_be_discarded_and_a_released_one_cannot(store: Store) -> None:
    draft = add_job(store, 2, released=False)
    kept = add_job(store, 2)
    store.discard(draft.id)
    store.discard(kept.id)
    assert [job.id for job in store.list_jobs()] == [kept.id]


def test_a_database_that_is_down_is_named(tmp_path: object) -> None:
    url = "postgresql+psycopg://u:secret@127.0.0.1:1/farm"
    with pytest.raises(Unreachable, match=r"u:\*\*\*@127.0.0.1:1/farm does not answer"):
        Store(url, patience=0.1)


def test_a_malformed_store_url_says_what_is_expected() -> None:
    with pytest.raises(InvalidSetting, match="Expected sqlite:///"):
        Store("not a url")


def test_migrating_twice_and_from_many_threads_is_harmless(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/farm.db"
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(Store(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4
    stores[0].open_job(JobRecord("j", "sleep", "sleep", {}, 0.0))
    assert stores[3].find_job("j").model == "sleep"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"no database at all " * 1000)
    for migrate in (True, False):
        with pytest.raises(InvalidSetting, match=r"junk.db cannot be used: .*GENFARM_STORE"):
            Store(f"sqlite:///{tmp_path}/junk.db", migrate=migrate).list_workers()


def test_a_store_says_whether_its_tables_are_at_this_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/farm.db"
    assert not Store(url, migrate=False).is_current()
    assert Store(url).is_current()


def test_a_store_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/farm.db"
    store = Store(url)
    store.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidSetting, match=r"revision 9999.*knows revisions up to .*Upgrade"):
        Store(url)
