"""A stranger holds SQLite's one write lock: all wait, nobody is judged for it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genfarm_shared.keeper import Keeper
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State
from tests.shared.farmyard import add_worker
from tests.waiting import until
from tests.yard import Yard


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The write lock of that database, held by another connection."""
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        stranger.close()


@pytest.mark.parametrize("seconds", [3.0, pytest.param(10.0, marks=pytest.mark.torture)])
def test_a_foreign_lock_longer_than_a_lease_costs_no_worker(
    yard: Yard, tmp_path: Path, seconds: float
) -> None:
    worker = yard.start_worker("sleep")
    job = yard.submit("sleep", *[0.5] * 20)
    until(lambda: State.RUNNING in yard.states(job))
    with locked(tmp_path / "home" / "farm.db"):
        until(lambda: all(time.time() - w.beat_at > seconds for w in yard.store.list_workers()))
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 20}
    assert yard.store.count_attempts([job]) == {"succeeded": 20}
    assert [(w.id, w.state) for w in yard.store.list_workers()] == [(worker.id, "alive")]


def test_a_keeper_whose_own_beats_do_not_arrive_judges_nobody(
    store: Store, broker_url: str
) -> None:
    settings = Settings.load(broker=broker_url, lease_seconds=5)
    keeper = Keeper(store, Broker(broker_url), settings, add_worker(store, "own"))
    add_worker(store, "other")
    for now in range(12):
        keeper.tick(float(now))
    assert {worker.state for worker in store.list_workers(everyone=True)} == {"alive"}
    for now in range(12, 24):
        store.beat("own", {"at": now})
        keeper.tick(float(now))
    assert [worker.id for worker in store.list_workers()] == ["own"]
