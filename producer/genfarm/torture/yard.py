"""The farm that is tortured: its Redis server, its store, its workers, and who restarts them.

Every process is started, signalled and ended by its own pid, and dies with this
one. Strikes nothing by itself. Its methods are the main thread's.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import redis

from genfarm.fsck import Shelf
from genfarm.processes import Child, Command, end
from genfarm.redis_server import prepare_server
from genfarm.torture.postgres import Postgres
from genfarm.torture.proxy import Proxy
from genfarm_shared.errors import GenfarmError, InvalidSetting, Unreachable
from genfarm_shared.exits import FENCED
from genfarm_shared.settings import PRIVATE, Settings, masked
from genfarm_shared.store import Store
from genfarm_shared.tasks import WorkerRecord

#: Laid over the shipped registry. A silent engine is killed after `stall_seconds`.
REGISTRY = """
[models.drill]
kind = "drill"
engine = "drill"
slots = 32
stall_seconds = 3.0
"""
MODELS = ["drill", "sleep"]
#: Short, so that a minute holds many deaths; and attempts enough for an unlucky innocent.
SHORT = {
    "lease_seconds": 3.0,
    "beat_seconds": 0.5,
    "tick_seconds": 0.25,
    "reconcile_seconds": 4.0,
    "drain_timeout": 2.0,
    "max_attempts": 12,
}
#: Seconds until the first workers must be ready.
READY_SECONDS = 120.0
#: Seconds between two looks at who lives.
LOOK_EVERY = 0.5


@dataclass(slots=True)
class Hand:
    """A worker process and what is being done to it."""

    child: Child
    #: Names of the faults that have it now; it is not struck again meanwhile.
    struck: set[str] = field(default_factory=set)
    #: Names of all faults that this process has suffered, its engine's too.
    blamed: set[str] = field(default_factory=set)
    #: Whether this process was ever seen ready; one that starts in an outage may end.
    was_ready: bool = False

    def suffer(self, name: str) -> None:
        """Note a fault that has it from now on."""
        self.struck.add(name)
        self.blamed.add(name)

    def begin(self, now: float) -> None:
        """Start its process, which has suffered nothing yet."""
        self.struck.clear()
        self.blamed.clear()
        self.was_ready = False
        self.child.spawn(now)


class Yard:
    """One farm in one folder."""

    def __init__(self, home: Path, store: str, workers: int) -> None:
        self.home = home
        (home / "logs").mkdir()
        self._asked_store = store
        self._number = workers
        self.postgres: Postgres | None = None
        self.proxy: Proxy | None = None
        self.redis: Child | None = None
        #: Whether Redis is down on purpose.
        self.is_redis_down = False
        self.hands: list[Hand] = []
        #: Pids of workers that live and are ready, as last seen.
        self.ready: dict[int, WorkerRecord] = {}
        #: Workers that ended though nothing had struck them, each with its exit code.
        self.exits: list[str] = []
        #: Workers that ended because their lease had run out, as they must.
        self.fenced = 0
        #: Malformed messages that Redis took.
        self.garbage: list[bytes] = []
        #: Tasks that have ended, as last seen.
        self.ended = 0
        self._done = threading.Event()
        self._looker = threading.Thread(target=self._look, name="looker", daemon=True)

    def start(self) -> None:
        """Start everything; returns when every worker is ready. Raises GenfarmError."""
        self._prepare_redis()
        store_url = self._start_store()
        assert self.proxy is not None  # noqa: S101  # started a line above
        (self.home / "models.toml").write_text(REGISTRY)
        broker = self._server.url.replace(f":{self._server.port}/", f":{self.proxy.port}/")
        self.settings = settle(self.home, store_url, broker)
        self.store = Store(self.settings.store_url)
        if self.store.list_jobs(1):
            raise InvalidSetting(
                f"the store {self.store.url} holds jobs already; a torture needs an empty one"
            )
        self.shelf = Shelf(self.settings.artifacts_url)
        for number in range(self._number):
            hand = Hand(Child(self._worker_command(number)))
            self.hands.append(hand)
            hand.begin(time.monotonic())
        self._looker.start()
        self.await_workers()

    @property
    def broker_url(self) -> str:
        """Redis without the proxy: for the driver and the nemesis."""
        return self._server.url

    def await_workers(self) -> None:
        """Return when every worker is ready. Raises Unreachable."""
        give_up = time.monotonic() + READY_SECONDS
        while len(self.ready) < self._number:
            self.supervise()
            if time.monotonic() > give_up:
                words = self.hands[0].child.last_words()
                raise Unreachable(f"the workers are not ready; the first one's log ends:\n{words}")
            time.sleep(0.05)

    def supervise(self) -> None:
        """Start again whatever has died, as a supervisor would."""
        now = time.monotonic()
        for hand in self.hands:
            hand.was_ready |= hand.child.pid in self.ready
            if not hand.child.is_running():
                self._note_end(hand)
                self.ready.pop(hand.child.pid, None)
                hand.child.kill()  # what is left of its group
                hand.begin(now)
        if self.redis is not None and not self.redis.is_running() and not self.is_redis_down:
            self.start_redis()

    def _note_end(self, hand: Hand) -> None:
        if hand.child.code == FENCED:
            self.fenced += 1
        elif hand.was_ready and not hand.blamed:
            self.exits.append(f"{hand.child.command.name} ended with code {hand.child.code}")

    def victims(self, *, fatal: bool) -> list[Hand]:
        """Workers that may be struck: ready, and in no fault's hands.

        A fatal fault spares the last, or with a strike a second nothing would ever run.
        """
        ready = [hand for hand in self.hands if hand.child.pid in self.ready and not hand.struck]
        spared = 1 if fatal and self._number > 1 else 0
        return ready if len(ready) > spared else []

    def engine_of(self, hand: Hand) -> psutil.Process | None:
        """A worker's engine process."""
        try:
            children = psutil.Process(hand.child.pid).children()
            return next((c for c in children if "genfarm_workers.loop" in c.cmdline()), None)
        except psutil.Error:
            return None

    def client(self, timeout: float = 5.0) -> redis.Redis:
        """A connection of the nemesis to Redis; to be closed."""
        return redis.Redis.from_url(
            self.broker_url, socket_timeout=timeout, socket_connect_timeout=2.0
        )

    def start_redis(self, *, wipe: bool = False) -> None:
        """Start the server on its old port, with its old data unless wiped."""
        assert self.redis is not None  # noqa: S101
        self.redis.kill()
        if wipe:
            shutil.rmtree(self.home / "redis" / "appendonlydir", ignore_errors=True)
        self.redis.spawn(time.monotonic())
        self.is_redis_down = False

    def close(self) -> None:
        """End every process."""
        self._done.set()
        for hand in self.hands:
            _signal(hand.child.pid, signal.SIGCONT)
        end([hand.child for hand in self.hands], within=0.0)
        if self.redis is not None:
            self.redis.kill()
        if self._looker.is_alive():
            self._looker.join(5.0)
        if hasattr(self, "store"):
            self.store.close()
        if self.proxy is not None:
            self.proxy.close()
        if self.postgres is not None:
            self.postgres.close()

    def _prepare_redis(self) -> None:
        self._server = prepare_server(self.home)
        command = [*self._server.command, "--enable-debug-command", "local"]
        log = self.home / "logs" / "redis.log"
        self.redis = Child(Command("redis", command, os.environ, log))
        self.start_redis()
        self.proxy = Proxy(self._server.port)
        give_up = time.monotonic() + 10.0
        with self.client(1.0) as client:
            while not _answers(client):
                if time.monotonic() > give_up:
                    raise Unreachable(f"Redis did not start: {self.redis.last_words()}")
                time.sleep(0.05)

    def _start_store(self) -> str:
        if self._asked_store == "sqlite":
            return f"sqlite:///{self.home / 'farm.db'}"
        if self._asked_store == "postgresql":
            self.postgres = Postgres(self.home)
            self.postgres.start()
            self.postgres.await_ready()
            return self.postgres.url
        return self._asked_store

    def _worker_command(self, number: int) -> Command:
        argv: Sequence[str] = (sys.executable, "-m", "genfarm_workers")
        chosen = ("--node", f"cpu{number}")
        log = self.home / "logs" / f"worker{number}.log"
        return Command(f"cpu{number}", [*argv, *chosen], self.settings.environment(), log)

    def _look(self) -> None:
        """On its own thread, because a locked store answers late."""
        while not self._done.wait(LOOK_EVERY):
            try:
                living = self.store.list_workers()
                self.ended = self.store.count_ended()
            except GenfarmError:
                continue
            ours = {hand.child.pid for hand in self.hands if hand.child.is_running()}
            self.ready = {w.pid: w for w in living if w.pid in ours and w.report.get("ready")}


def settle(home: Path, store_url: str, broker_url: str) -> Settings:
    """Every setting of a run's processes: none is taken from the environment, or the artefacts
    of a farm in use would be among ours, and its limits would decide what a run can show."""
    defaults = {
        name: about.get_default(call_default_factory=True)
        for name, about in Settings.model_fields.items()
    }
    ours = {"home": home, "store": store_url, "broker": broker_url, "device": "cpu"}
    ours |= {"artifacts": str(home / "artifacts"), "registry": str(home / "models.toml")}
    return Settings.load(**defaults | ours | SHORT | {"models": MODELS})


def make_home(home: Path) -> None:
    """Make the folder of a run, for its owner alone. Raises InvalidSetting when it is in use:
    a farm that lived there would lose its registry and its server's password."""
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise InvalidSetting(
            f"--home {home} exists and is not empty; a torture needs a folder of its own, "
            "and nothing was touched: name a new one, or leave --home out"
        )
    for folder in (*reversed(home.parents), home):
        folder.mkdir(mode=PRIVATE, exist_ok=True)
    home.chmod(PRIVATE)


def check_store(asked: str) -> None:
    """Raises InvalidSetting for what is no kind of store."""
    scheme = urlsplit(asked).scheme.partition("+")[0]
    if asked not in ("sqlite", "postgresql") and scheme not in ("sqlite", "postgresql"):
        raise InvalidSetting(
            f"--store {masked(asked)!r}: expected sqlite, postgresql or the URL of an "
            "empty database, as postgresql+psycopg://user@host/database"
        )


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _signal(pid: int, number: int) -> None:
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def quietly(work: Callable[[], object]) -> bool:
    """Do what may find Redis down or a process gone; whether it was done."""
    try:
        work()
    except (redis.RedisError, OSError, psutil.Error):
        return False
    return True
