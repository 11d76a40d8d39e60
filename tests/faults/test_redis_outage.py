"""Redis goes away while tasks run, and comes back with what it had."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from genfarm.redis_server import find_program, free_port
from genfarm_shared.queue import PREFIX
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State
from tests.waiting import until
from tests.yard import Yard


class Server:
    """A Redis-protocol server that keeps its data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._command = [str(find_program()), "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--appendonly", "yes", "--dir", str(folder)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            until(lambda: _answers(client))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.mark.torture
def test_a_worker_outlives_an_outage_and_lets_go_of_what_ended_in_it(
    server: Server, tmp_path: Path
) -> None:
    settings = Settings.load(broker=f"redis://127.0.0.1:{server.port}/0", tick_seconds=0.1)
    yard = Yard(settings, tmp_path)
    try:
        worker = yard.start_worker("sleep")
        during = yard.submit("sleep", *[1.0] * 5)
        until(lambda: len(yard.store.still_mine(worker.id)) == 5)
        server.stop()
        until(lambda: yard.finished(during))  # recorded without Redis
        server.start()
        with server.client() as client:
            until(lambda: not client.exists(f"{PREFIX}unacked.{worker.id}"))
        after = yard.submit("sleep", 0.0)
        until(lambda: yard.finished(after))
        assert yard.states(during) == {State.SUCCEEDED: 5}
        assert yard.store.count_attempts([during, after]) == {"succeeded": 6}
        assert yard.store.list_workers()[0].pid == worker.pid
    finally:
        yard.close()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
