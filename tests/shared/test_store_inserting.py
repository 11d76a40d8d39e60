"""Very many tasks written at once, and those that are queued from the start."""

import json

import pytest

from genfarm_shared.store import Store
from genfarm_shared.store.inserting import TOGETHER
from genfarm_shared.tasks import State

from .farmyard import add_job, add_worker, commit, done, ids, make_task, states
from .test_store import fail_after_commit


def test_every_row_is_what_its_task_was_however_many_go_together(store: Store) -> None:
    job, total = add_job(store, 0, released=False, priority=3), 2 * TOGETHER + 7
    new = [make_task(job, index) for index in range(total)]
    for task in new[::2]:  # encoded by whoever checked it
        task.params = json.dumps({"seconds": 0.0, "seed": task.index, "said": 'é" \\ ,'})
    store.insert(new)
    store.seal(job.id, total)
    rows = store.read_after(job.id, -1, total)
    assert [row.id for row in rows] == ids(job, total)
    assert [row.params["seed"] for row in rows] == [row.seed for row in rows] == [*range(total)]
    assert rows[TOGETHER].params["said"] == 'é" \\ ,'
    assert [hint.priority for hint in store.dispatch(total)] == [3] * total


def test_what_the_window_has_room_for_is_queued_from_the_start(store: Store) -> None:
    job = add_job(store, 0)
    new = [make_task(job, index) for index in range(8)]
    assert [store.insert(new[:3], 5), store.insert(new[3:], 5)] == [3, 2]
    assert states(store, job) == {State.QUEUED: 5, State.PENDING: 3}
    other = add_job(store, 0, model="other")
    # Something waits, and which is next is for dispatch to say.
    assert store.insert([make_task(other, 0)], 5) == 0
    add_worker(store)
    commit(store, *map(done, store.claim(ids(job, 5), "w1")))
    assert len(store.dispatch(5)) == 4


def test_an_insert_whose_answer_was_lost_still_says_what_is_queued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(store, 0)
    fail_after_commit(store, monkeypatch)
    assert store.insert([make_task(job, index) for index in range(5)], 4) == 4
    assert states(store, job) == {State.QUEUED: 4, State.PENDING: 1}


def test_rows_that_were_there_stay_as_they_are(store: Store) -> None:
    job = add_job(store, 2)
    add_worker(store)
    commit(store, *map(done, store.claim(ids(job, 2), "w1")))
    assert store.insert([make_task(job, index) for index in range(3)], 5) == 3
    assert states(store, job) == {State.SUCCEEDED: 2, State.QUEUED: 1}


def test_a_job_of_which_nothing_has_ended_has_nothing_to_retry(store: Store) -> None:
    job = add_job(store, 2)
    assert store.retry(job.id, [State.FAILED]) == 0
