"""What is withdrawn or too late costs the device nothing more and never shows a result."""

import time

from genfarm_shared.store import Store
from genfarm_shared.tasks import State
from tests.shared.farmyard import add_job, add_worker, ids
from tests.waiting import until
from tests.yard import Yard


def test_a_cancelled_running_task_leaves_at_a_step_and_shows_no_result(yard: Yard) -> None:
    """Its mate in the batch goes on, and the one that is to have the place comes in."""
    yard.start_worker("drill")
    job = yard.submit("drill", *[{"seconds": 1.5}] * 32)
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 32)
    mate = yard.submit("drill", {"seconds": 2.5})
    assert yard.store.cancel(job) == 32
    until(lambda: yard.finished(mate))
    assert yard.states(job) == {State.CANCELLED: 32}
    assert yard.store.count_results([job]) == 0
    assert yard.states(mate) == {State.SUCCEEDED: 1}
    assert yard.store.list_workers()[0].report["deaths"] == 0


def test_a_cancelled_suspect_gives_the_engine_up(yard: Yard) -> None:
    """It would have it to itself for an hour."""
    yard.start_worker("drill")
    job = yard.submit("drill", {"seconds": 3600.0, "fault": "kill", "faulty_attempts": 1})
    until(lambda: yard.store.list_workers()[0].report["deaths"] == 1)
    until(lambda: yard.store.list_workers()[0].report["in_hand"] == 1)
    assert yard.store.cancel(job) == 1
    next_one = yard.submit("drill", {})
    until(lambda: yard.finished(next_one))
    assert yard.store.count_results([job]) == 0


def test_a_claim_after_the_deadline_is_refused(store: Store) -> None:
    """Also between two rounds of the keeper, which has not written it down yet."""
    late = add_job(store, 2, deadline=time.time() - 1.0)
    soon = add_job(store, 2, deadline=time.time() + 3600.0)
    add_worker(store)
    store.dispatch(100)
    claims = store.claim([*ids(late, 2), *ids(soon, 2)], "w1")
    assert sorted(claim.task_id for claim in claims) == ids(soon, 2)
    assert store.expire() == 2
