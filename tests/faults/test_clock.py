"""The clock is set an hour back or forward: nothing waits for it, and nobody dies of it."""

from pathlib import Path

import pytest

from genfarm_shared.keeper import Keeper
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State
from tests.shared.farmyard import add_job, add_worker, commit, failed, ids, states

HOUR = 3600.0


class SetClock:
    """Stands still but where a test sets it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(store: Store) -> SetClock:
    store._clock = SetClock()
    return store._clock


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(store: Store, clock: SetClock) -> None:
    job = add_job(store, 1)
    add_worker(store)
    commit(store, failed(store.claim(ids(job, 1), "w1")[0], retryable=True))
    clock.now -= HOUR
    assert len(store.dispatch(10)) == 1


def test_lost_messages_are_missed_though_the_clock_was_set_back(
    store: Store, clock: SetClock
) -> None:
    job = add_job(store, 2)
    store.dispatch(10)
    clock.now -= HOUR
    assert sorted(store.queued_before(2.0)) == ids(job, 2)


def test_an_hour_forward_ends_nothing_that_has_no_deadline(
    store: Store, clock: SetClock, broker_url: str
) -> None:
    job = add_job(store, 2)
    add_worker(store)
    store.dispatch(1)
    store.claim(ids(job, 1), "w1")
    keeper = Keeper(store, Broker(broker_url), Settings.load(broker=broker_url))
    for now in (1.0, 2.0):
        keeper.tick(now)
        clock.now += HOUR
    assert states(store, job) == {State.RUNNING: 1, State.QUEUED: 1}
    assert [worker.state for worker in store.list_workers()] == ["alive"]


def test_the_database_has_its_own_clock(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/farm.db", clock=SetClock())
    assert store.write(store.clock) == SetClock().now
