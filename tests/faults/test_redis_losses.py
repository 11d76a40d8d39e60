"""Redis loses messages, all or some, with a word or without: every task runs all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from genfarm.torture.proxy import Proxy
from genfarm_shared.queue import PREFIX
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State
from tests.servers import RedisServer
from tests.waiting import until
from tests.yard import Yard

#: More than a worker takes in at once.
TASKS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps nothing when it is killed."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def farm(url: str, folder: Path) -> Yard:
    quick = {"beat_seconds": 0.25, "tick_seconds": 0.1, "reconcile_seconds": 1.0}
    return Yard(Settings.load(broker=url, **quick), folder)


def test_whatever_redis_loses_comes_back(server: RedisServer, tmp_path: Path) -> None:
    yard = farm(server.url, tmp_path)
    try:
        worker = yard.start_worker()
        for lose in (_flush, _drop_some, _restart_empty):
            job = yard.submit("drill", *[{"seconds": 0.05, "text": str(i)} for i in range(TASKS)])
            lose(server)
            until(lambda job=job: yard.finished(job))  # type: ignore[misc]
            assert yard.states(job) == {State.SUCCEEDED: TASKS}, lose
            assert yard.store.count_attempts([job]) == {"succeeded": TASKS}, lose
        assert [w.id for w in yard.store.list_workers()] == [worker.id]
    finally:
        yard.close()


@pytest.mark.torture
def test_a_half_open_connection_is_given_up(server: RedisServer, tmp_path: Path) -> None:
    """Nothing comes through any more, and nobody says so."""
    way = Proxy(server.port)
    yard = farm(f"redis://127.0.0.1:{way.port}/0", tmp_path)
    try:
        worker = yard.start_worker()
        assert way.swallow() > 0
        job = yard.submit("drill", *[{"text": str(i)} for i in range(TASKS)])
        until(lambda: yard.finished(job), patience=90)
        assert yard.states(job) == {State.SUCCEEDED: TASKS}
        assert [w.id for w in yard.store.list_workers()] == [worker.id]
    finally:
        yard.close()
        way.close()


def _flush(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def _drop_some(server: RedisServer) -> None:
    """Half a list and what workers have in their hands, while the server goes on as before."""
    with redis.Redis.from_url(server.url) as client:
        key = f"{PREFIX}model.drill:9"
        client.ltrim(key, 0, client.llen(key) // 2)
        for held in client.scan_iter(match=f"{PREFIX}unacked.*"):
            client.delete(held)


def _restart_empty(server: RedisServer) -> None:
    server.kill()
    server.start()
