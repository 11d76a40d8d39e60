"""Redis goes away while tasks run, and comes back with what it had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from genfarm_shared.queue import PREFIX
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State
from tests.servers import RedisServer
from tests.waiting import until
from tests.yard import Yard


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, keep=True)
    yield server
    server.stop()


@pytest.mark.torture
def test_a_worker_outlives_an_outage_and_lets_go_of_what_ended_in_it(
    server: RedisServer, tmp_path: Path
) -> None:
    settings = Settings.load(broker=server.url, tick_seconds=0.1)
    yard = Yard(settings, tmp_path)
    try:
        worker = yard.start_worker("sleep")
        during = yard.submit("sleep", *[1.0] * 5)
        until(lambda: len(yard.store.still_mine(worker.id)) == 5)
        server.stop()
        until(lambda: yard.finished(during))  # recorded without Redis
        server.start()
        with redis.Redis.from_url(server.url) as client:
            until(lambda: not client.exists(f"{PREFIX}unacked.{worker.id}"))
        after = yard.submit("sleep", 0.0)
        until(lambda: yard.finished(after))
        assert yard.states(during) == {State.SUCCEEDED: 5}
        assert yard.store.count_attempts([during, after]) == {"succeeded": 6}
        assert yard.store.list_workers()[0].pid == worker.pid
    finally:
        yard.close()
