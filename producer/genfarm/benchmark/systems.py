"""Systems that take tasks from Redis, each filled, started, watched and ended in one way.

Ours and stock Celery are run by this interpreter; the peers by the one that
`--peers-python` names, for some want other versions of what we need ourselves.
Starts every worker by name and imports none of them.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from genfarm.devices import Seat
from genfarm.farm import Farm
from genfarm.redis_server import prepare_server
from genfarm_shared.keeper import dispatch
from genfarm_shared.queue import PREFIX, Broker, list_key
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State

PEERS = Path(__file__).with_name("peers")
#: Seconds between two looks at how far a system is; each is two or three short commands.
LOOK = 0.005
#: Seconds that a worker may take for all of its tasks.
PATIENCE = 600.0


class Stuck(Exception):
    """A system did not do its tasks, so that there is no figure."""


@dataclass(frozen=True, slots=True)
class System:
    """One worker and its queue."""

    name: str
    #: Queues so many tasks of so many seconds; Redis is empty before.
    fill: Callable[[int, float], None]
    #: How many of so many tasks a worker has taken.
    begun: Callable[[int], int]
    #: How many of so many are done: acknowledged, or their results stored.
    done: Callable[[int], int]
    command: Sequence[str]
    #: The worker's whole environment; this process's own where it is None.
    environment: Mapping[str, str] | None = None
    #: How many results are on record in the end.
    kept: Callable[[], int] | None = None


class Stage:
    """One Redis server for all, emptied before each run."""

    def __init__(self, home: Path, peers_python: str = sys.executable) -> None:
        server = prepare_server(home)
        self.url, self.home = server.url, home
        self._peers_python = peers_python
        self._redis: Any = redis.Redis.from_url(server.url)
        #: Where results go, if they can: the size of a database that holds nothing else is known.
        self._results_url = f"{server.url.removesuffix('0')}1"
        self._results: Any = redis.Redis.from_url(self._results_url)
        #: The farm's, while it is being measured.
        self._stores: list[Store] = []
        self._server = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
        _until(self._answers)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self._server.terminate()
        self._server.wait()

    def farm(self, window: int, *, is_done_when_recorded: bool = False) -> System:
        """Ours: one worker, its events on, every result in SQLite. `window` holds all tasks.

        A task is done when its message is let go of, which is asked of Redis at next to no cost,
        or up to 50 ms before that, when its result is on record.
        """
        home, unacked = self.home / "farm", f"{PREFIX}unacked.*"
        settings = Settings.load(
            home=home, broker=self.url, window=window, store=f"sqlite:///{home}/farm.db"
        )

        def fill(total: int, seconds: float) -> None:
            while self._stores:
                self._stores.pop().close()
            shutil.rmtree(home, ignore_errors=True)
            store, broker = Store(settings.store_url), Broker(self.url)
            self._stores.append(store)
            with Farm(settings.store_url, self.url, home=home, progress=False) as farm:
                farm.submit_many("sleep", [seconds] * total)
            while dispatch(store, broker, window):
                pass
            broker.close()

        def begun(total: int) -> int:
            return total - int(self._redis.llen(list_key("sleep", 0)))

        def let_go(total: int) -> int:
            held = sum(map(self._redis.hlen, self._redis.keys(unacked)))
            return begun(total) - int(held)

        def kept() -> int:
            (store,) = self._stores
            (job,) = store.list_jobs(1)
            return store.count([job.id])[job.id].get(State.SUCCEEDED, 0)

        def recorded(_total: int) -> int:
            return kept()

        command = Seat("bench", "cpu", 1).command(sys.executable)
        environment = {**settings.environment(), "GENFARM_MODELS": "sleep"}
        done = recorded if is_done_when_recorded else let_go
        return System("genfarm", fill, begun, done, command, environment, kept)

    def celery(self, pool: str, concurrency: int, backend: str = "") -> System:
        """Stock Celery with results in `redis`, `sql` (SQLite) or, where it is empty, nowhere."""
        file = self.home / "celery.db"
        places = {"redis": self._results_url, "sql": f"db+sqlite:///{file}"}
        script = [sys.executable, str(PEERS / "with_celery.py")]

        def fill(total: int, seconds: float) -> None:
            file.unlink(missing_ok=True)
            _run([*script, "fill", self.url, str(total), str(seconds)])

        def begun(total: int) -> int:
            return total - int(self._redis.llen("bench"))

        def done(total: int) -> int:
            return begun(total) - int(self._redis.hlen("unacked"))

        command = [*script, "work", self.url, pool, str(concurrency), places.get(backend, "")]
        name = f"celery {pool}" + (f" + {backend}" if backend else "")
        kept = self._results.dbsize if backend == "redis" else None
        return System(name, fill, begun, done, command, kept=kept)

    def peers(self) -> list[System]:
        """Other task queues, each with its results in Redis; those that are installed."""
        client, results = self._redis, self._results
        done: dict[str, Callable[[int], int]] = {
            "huey": lambda _total: int(client.hlen("huey.results.bench")),
            "taskiq": lambda _total: int(results.dbsize()),
            "dramatiq": lambda _total: int(results.dbsize()),
            "rq": lambda _total: int(client.zcard("rq:finished:bench")),
            "arq": lambda total: total - int(client.zcard("arq:queue")),
        }
        return [self._peer(name, found) for name, found in done.items() if self._has(name)]

    def missing(self) -> list[str]:
        """What a reader must know of peers that cannot be run."""
        return [
            f"{name} is not installed where {self._peers_python} looks: "
            "pip install 'genfarm[bench]', or name another interpreter by --peers-python"
            for name in ("huey", "taskiq", "dramatiq", "rq", "arq")
            if not self._has(name)
        ]

    def rate(self, system: System, total: int, seconds: float = 0.0) -> float:
        """Tasks a second of its worker, from the first that is taken to the last that is done."""
        self._redis.flushall()
        system.fill(total, seconds)
        with self._working(system) as is_well:
            _until(lambda: not is_well() or system.begun(total) > 0)
            first, began = system.done(total), time.perf_counter()
            _until(lambda: not is_well() or system.done(total) >= total)
            elapsed = time.perf_counter() - began
            if not is_well():
                raise Stuck(f"{system.name}: its worker ended; see {self._log(system)}")
        if system.kept is not None and system.kept() != total:
            raise Stuck(f"{system.name}: {system.kept()} results of {total} are on record")
        return (total - first) / elapsed

    def _peer(self, name: str, done: Callable[[int], int]) -> System:
        script = [self._peers_python, str(PEERS / f"with_{name}.py")]

        def fill(total: int, _seconds: float) -> None:
            _run([*script, "fill", self.url, str(total)])

        return System(name, fill, done, done, [*script, "work", self.url])

    def _has(self, package: str) -> bool:
        command = [self._peers_python, "-c", f"import {package}"]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:  # no such interpreter
            return False

    @contextmanager
    def _working(self, system: System) -> Iterator[Callable[[], bool]]:
        with self._log(system).open("wb") as log:
            process = subprocess.Popen(
                system.command, env=system.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield lambda: process.poll() is None
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, system: System) -> Path:
        return self.home / f"{system.name.replace(' ', '-')}.log"

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self._redis.ping())
        return False


@contextmanager
def staged(peers_python: str = sys.executable) -> Iterator[Stage]:
    """A stage in a folder of its own."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as doors:
        stage = Stage(Path(home), peers_python)
        doors.callback(stage.close)
        yield stage


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stuck(f"{command[1]} failed: {done.stderr.strip().splitlines()[-1:]}")


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Stuck(f"not within {PATIENCE:.0f} s")
        time.sleep(LOOK)
