"""A stranger holds SQLite's one write lock: all wait, nobody is judged for it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genfarm_shared.tasks import State
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
