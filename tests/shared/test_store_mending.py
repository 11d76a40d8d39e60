"""What the keeper's verbs do, on every database."""

import time

from genfarm_shared.store import Store
from genfarm_shared.tasks import ALONE, State

from .farmyard import add_job, add_worker, commit, done, ids, states


def test_dispatch_fills_the_window_and_no_more(store: Store) -> None:
    job = add_job(store, 10)
    assert len(store.dispatch(6)) == 6
    assert store.dispatch(6) == []
    assert states(store, job) == {State.QUEUED: 6, State.PENDING: 4}


def test_the_urgent_go_first_and_equals_take_turns(store: Store) -> None:
    slow, fast = add_job(store, 4), add_job(store, 4)
    urgent = add_job(store, 2, priority=5)
    hints = store.dispatch(6)
    jobs = [hint.task_id.rpartition("-")[0] for hint in hints]
    assert jobs[:2] == [urgent.id] * 2
    assert {jobs.count(slow.id), jobs.count(fast.id)} == {2}


def test_tasks_of_a_job_that_is_still_being_written_wait(store: Store) -> None:
    job = add_job(store, 2, released=False)
    assert store.dispatch(10) == []
    store.seal(job.id, 2)
    assert len(store.dispatch(10)) == 2


def test_a_suspect_is_dispatched_with_a_key_of_its_own(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    store.accuse(store.claim(ids(job, 1), "w1"), "crash", was_killed=False)
    (hint,) = store.dispatch(10)
    (claim,) = store.claim(ids(job, 1), "w1")
    assert hint.batch_key == f"{ALONE}{claim.suspect}"


def test_requeue_moves_only_what_is_queued(store: Store) -> None:
    job = add_job(store, 3)
    add_worker(store)
    store.dispatch(10)
    store.claim(ids(job, 1), "w1")
    assert store.requeue(ids(job, 3)) == 2
    assert states(store, job) == {State.RUNNING: 1, State.PENDING: 2}


def test_a_silent_worker_loses_its_tasks_and_a_beating_one_keeps_them(store: Store) -> None:
    job = add_job(store, 2)
    for name in ("silent", "beating"):
        add_worker(store, name)
    store.claim(ids(job, 2)[:1], "silent")
    store.claim(ids(job, 2)[1:], "beating")
    beats = {worker.id: worker.beat_at for worker in store.list_workers()}
    assert store.beat("beating", {})  # after the keeper had looked
    assert store.reap(beats, max_attempts=5) == ["silent"]
    assert states(store, job) == {State.PENDING: 1, State.RUNNING: 1}
    assert not store.beat("silent", {})
    assert store.beat("beating", {})
    assert store.count_attempts([job.id]) == {"lost": 1, "open": 1}


def test_a_task_whose_workers_keep_dying_fails_in_the_end(store: Store) -> None:
    job = add_job(store, 1)
    for attempt in (1, 2):
        add_worker(store, f"w{attempt}")
        store.claim(ids(job, 1), f"w{attempt}")
        beats = {worker.id: worker.beat_at for worker in store.list_workers()}
        store.reap(beats, max_attempts=2)
    (record,) = store.read_tasks(ids(job, 1))
    assert (record.state, record.reason_code) == (State.FAILED, "worker_lost")


def test_tasks_past_their_deadline_expire_unless_begun(store: Store) -> None:
    job = add_job(store, 2, deadline=time.time() + 3600)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    store.write(lambda connection: connection.exec_driver_sql("UPDATE jobs SET deadline = 1.0"))
    assert store.expire() == 1
    commit(store, done(claim))
    assert states(store, job) == {State.SUCCEEDED: 1, State.EXPIRED: 1}


def test_what_expired_and_is_retried_does_not_expire_again(store: Store) -> None:
    job = add_job(store, 1, deadline=1.0)
    store.expire()
    assert store.retry(job.id, [State.EXPIRED]) == 1
    assert store.expire() == 0
    assert states(store, job) == {State.PENDING: 1}


def test_a_farm_keeps_its_name(store: Store) -> None:
    assert store.farm()
    assert store.farm() == store.farm()


def test_a_task_that_was_only_given_back_has_lost_none_of_its_attempts(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    for _ in range(5):
        store.release(store.claim(ids(job, 1), "w1"), "drained")
    store.claim(ids(job, 1), "w1")
    beats = {worker.id: worker.beat_at for worker in store.list_workers()}
    store.reap(beats, max_attempts=2)
    assert states(store, job) == {State.PENDING: 1}


def test_tasks_of_a_worker_that_is_gone_are_freed_however_it_went(store: Store) -> None:
    job = add_job(store, 1)
    add_worker(store)
    store.claim(ids(job, 1), "w1")
    store.retire("w1", "it stopped between a claim and its commit")
    assert store.reap({}, max_attempts=5) == []
    assert states(store, job) == {State.PENDING: 1}


def test_a_model_whose_window_is_full_keeps_no_other_from_its_own(store: Store) -> None:
    add_job(store, 5)
    assert len(store.dispatch(3)) == 3
    other = add_job(store, 2, model="other")
    assert [hint.model for hint in store.dispatch(3)] == ["other", "other"]
    assert states(store, other) == {State.QUEUED: 2}
