"""What one commit makes of many outcomes, on every database."""

import pytest

from genfarm_shared.store import Store
from genfarm_shared.tasks import Claim, State

from .farmyard import add_job, add_worker, commit, done, failed, ids


def claimed(store: Store, task_ids: list[str]) -> list[Claim]:
    return sorted(store.claim(task_ids, "w1"), key=lambda claim: claim.task_id)


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_of_two_attempts_that_end_in_one_commit_the_newer_counts(
    store: Store, is_newest_first: bool
) -> None:
    """And the task beside them is recorded as ever."""
    job = add_job(store, 3)
    add_worker(store)
    old = claimed(store, ids(job, 2))
    store.release(old, "given back")
    new = claimed(store, ids(job, 3))
    ends = [done(old[0], "old"), done(old[1]), done(new[0], "new"), failed(new[1]), done(new[2])]
    assert commit(store, *(ends[::-1] if is_newest_first else ends)).recorded == {*ids(job, 3)}
    rows = {record.id: record for record in store.read_tasks(ids(job, 3))}
    assert rows[new[0].task_id].output == {"value": "new"}
    assert rows[new[1].task_id].state == State.FAILED
    assert store.count_results([job.id]) == 2
