"""The parts of one embedded farm, brought up in order, kept alive, and ended.

Order: server, store, Flower, workers; the end is the reverse. Knows no task,
no lock and no parent.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import psutil

from genfarm import flower
from genfarm.devices import Count, seat_workers
from genfarm.processes import Child, Command, end
from genfarm.redis_server import LOOPBACK, free_port, prepare_server
from genfarm.runfile import RunningFarm, RunningWorker, announce, withdraw
from genfarm_shared import safety
from genfarm_shared.errors import Unreachable
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store

#: Seconds a part may take to answer for the first time; a worker on two busy cores took 8.
READY_SECONDS = 60.0
#: Seconds between two looks at the children.
LOOK_EVERY = 0.1
#: Deaths in a row, before a first answer, that end the start.
TRIES = 2
#: Longest drain of an embedded farm, in seconds: a person waits for the end, and what is
#: cut off is only taken back and run again.
LONGEST_DRAIN = 5.0
#: Seconds beyond the drain before the kill, and for the server to close its file.
GRACE_SECONDS = 3.0

#: Waits so many seconds; whether the farm should stop instead of going on.
ShouldStop = Callable[[float], bool]


class StartStoppedError(Exception):
    """The farm was told to stop before it was up."""


class Parts:
    """Every process of one embedded farm. The main thread's alone."""

    def __init__(self, settings: Settings, should_stop: ShouldStop) -> None:
        drain = min(settings.drain_timeout, LONGEST_DRAIN)
        self._settings = settings.model_copy(update={"drain_timeout": drain})
        self._should_stop = should_stop
        self._server: Child | None = None
        self._flower: Child | None = None
        self._workers: list[Child] = []

    def boot(self, count: Count, *, with_flower: bool) -> RunningFarm:
        """Start every part and return when all answer. Raises GenfarmError or StartStoppedError."""
        (self._settings.home / "logs").mkdir(parents=True, exist_ok=True)
        broker = self._settings.broker or self._boot_server()
        _check_broker(broker)
        self._settings = self._settings.model_copy(update={"broker": broker})
        # Here too, for the workers would say it only after the tables were made.
        safety.refuse(safety.place_dangers(self._settings.store_url))
        store = Store(self._settings.store_url)
        if self._server is not None:
            _own(broker, store)
        farm = RunningFarm(
            home=self._settings.home,
            pid=os.getpid(),
            started_at=psutil.Process().create_time(),
            broker=broker,
            store=self._settings.store_url,
            artifacts=self._settings.artifacts_url,
            # Before the workers: Flower shows only what happens while it watches.
            flower_url=self._boot_flower() if with_flower else None,
        )
        self._boot_workers(count, store)
        store.close()
        self._announce(farm)
        return farm

    def watch(self, farm: RunningFarm) -> None:
        """Revive what dies until the farm should stop."""
        while not self._should_stop(LOOK_EVERY):
            now = time.monotonic()
            for child in self._children():
                if child.has_refused():  # into the supervisor's log
                    said = f"{child.command.name} refuses to start: {child.last_words(1)}\n"
                    sys.stderr.write(said)
            revived = [child for child in self._children() if child.revive(now)]
            if revived:
                self._announce(farm)

    def close(self) -> None:
        """End every part, the server last, because the others speak to it to the end."""
        withdraw(self._settings.home)
        clients = [child for child in self._children() if child is not self._server]
        end(clients, self._settings.drain_timeout + GRACE_SECONDS)
        end([self._server] if self._server else [], GRACE_SECONDS)

    def _children(self) -> Iterator[Child]:
        yield from (child for child in (self._server, self._flower) if child)
        yield from self._workers

    def _announce(self, farm: RunningFarm) -> None:
        workers = tuple(RunningWorker(c.command.name, c.pid) for c in self._workers)
        servers = {c.command.name: c.pid for c in (self._server, self._flower) if c}
        announce(replace(farm, workers=workers, servers=servers))

    def _boot_server(self) -> str:
        for _ in range(TRIES):  # each on a new port, for another may have taken the last
            server = prepare_server(self._settings.home)
            self._server = self._child("redis", server.command, self._settings.environment())
            self._server.spawn(time.monotonic())
            if self._answers(server.url, self._server):
                return server.url
        assert self._server is not None  # noqa: S101  # TRIES is not 0
        raise _will_not_start(self._server)

    def _answers(self, url: str, child: Child) -> bool:
        """Whether the server answers before it dies."""
        broker = Broker(url)
        try:
            while child.is_running():
                try:
                    broker.ping()
                except Unreachable:
                    self._pause()
                else:
                    return True
            return False
        finally:
            broker.close()

    def _boot_flower(self) -> str:
        flower.require_flower()
        port = free_port()
        environment = flower.flower_environment(self._settings.environment(), self._settings.home)
        self._flower = self._child("flower", flower.flower_command(port), environment)
        self._await(lambda: flower.is_healthy(port), [self._flower])
        return f"http://{LOOPBACK}:{port}"

    def _boot_workers(self, count: Count, store: Store) -> None:
        base = self._settings.environment()
        seats = seat_workers(count, base, self._settings.threads)
        self._workers = [
            self._child(seat.node, seat.command(sys.executable), seat.environment(base))
            for seat in seats
        ]
        host = socket.gethostname()

        def all_beat() -> bool:
            alive = {worker.pid for worker in store.list_workers() if worker.host == host}
            return all(child.pid in alive for child in self._workers)

        self._await(all_beat, self._workers)

    def _child(self, name: str, argv: Sequence[str], environment: dict[str, str]) -> Child:
        log = self._settings.home / "logs" / f"{name}.log"
        return Child(Command(name, argv, environment, log))

    def _await(self, is_ready: Callable[[], bool], children: Sequence[Child]) -> None:
        """Start those children and return when they are ready; restart what dies meanwhile."""
        deadline = time.monotonic() + READY_SECONDS
        for child in children:
            child.spawn(time.monotonic())
        while not is_ready():
            for child in children:
                has_failed = child.has_refused() or child.failures >= TRIES
                if has_failed or time.monotonic() > deadline:
                    raise _will_not_start(child)
                child.revive(time.monotonic())
            self._pause()

    def _pause(self) -> None:
        if self._should_stop(LOOK_EVERY):
            raise StartStoppedError


def _check_broker(url: str) -> None:
    broker = Broker(url)
    try:
        broker.ping()
    except Unreachable as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise Unreachable(
            f"the broker {broker.url} does not answer: {reason}. Start that server, or unset "
            "GENFARM_BROKER for a server of the farm's own"
        ) from error
    finally:
        broker.close()


def _own(url: str, store: Store) -> None:
    """Give the home's own server to its store: another's may have been there before, and gone."""
    broker = Broker(url)
    try:
        broker.take_over(store.farm(), by_force=True)
    finally:
        broker.close()


def _will_not_start(child: Child) -> Unreachable:
    return Unreachable(
        f"{child.command.name} of the embedded farm does not start; its log "
        f"{child.command.log} ends with:\n{child.last_words()}"
    )
