"""Where a farm is, and the open doors to it: store, broker, artefacts, watcher.

Everything a client hands out (Farm, Job, Item) shares one Link. It travels by
its addresses alone, so that handles can be pickled; a copy opens its own
doors. Knows no job and no task.
"""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from genfarm.room import Room
from genfarm.runfile import RunningFarm, running
from genfarm.watcher import Watcher
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import GenfarmError, Unreachable
from genfarm_shared.keeper import dispatch
from genfarm_shared.live import Live
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import Hint, Task

_NO_FARM = (
    "Start one here with `genfarm up` (or `Farm.local()` in Python), or set GENFARM_BROKER "
    "and GENFARM_STORE to a farm that runs elsewhere"
)
#: Seconds for which an answer of the broker is believed, so that a loop of submits does not
#: ping for each.
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a farm is. Holds passwords: do not print it."""

    #: SQLAlchemy URL.
    store: str
    #: Broker URL; empty: what is there can be read, and nothing submitted.
    broker: str
    #: fsspec URL.
    artifacts: str
    #: Most messages in the broker at once, see Settings.
    window: int
    #: Most open tasks in the farm, see Settings.
    max_open: int = 2_000_000
    #: None when Flower does not run, or nobody said where.
    flower_url: str | None = None


def locate(
    store: str | None,
    broker: str | None,
    artifacts: str | None,
    home: str | os.PathLike[str] | None,
) -> Address:
    """The farm that those flags, the environment or the running embedded farm name.

    Raises Unreachable when there is none, InvalidSetting for a bad value.
    """
    settings = Settings.load(store=store, broker=broker, artifacts=artifacts, home=home)
    found = None if settings.broker or settings.store else running(settings.home)
    if found is not None:
        return address_of(found)
    # A farm that is down can still be read: its results are files in its home.
    if not (settings.broker or settings.store or (settings.home / "farm.db").exists()):
        raise Unreachable(f"no farm runs in {settings.home} and no broker is set. {_NO_FARM}")
    places = (settings.store_url, settings.broker, settings.artifacts_url)
    return Address(*places, window=settings.window, max_open=settings.max_open)


def address_of(running: RunningFarm) -> Address:
    """Where an embedded farm that is up can be reached, whatever the environment says."""
    settings = Settings.load(home=running.home)
    return Address(
        store=running.store,
        broker=running.broker,
        artifacts=running.artifacts,
        window=settings.window,
        max_open=settings.max_open,
        flower_url=running.flower_url,
    )


class Link:
    """The doors of one farm, each opened when first used. Safe for many threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.RLock()
        self._is_closed = False
        #: When the broker last answered a ping, monotonic seconds.
        self._answered_at = float("-inf")

    def __reduce__(self) -> tuple[type["Link"], tuple[Address]]:
        return (Link, (self.address,))

    @property
    def store(self) -> Store:
        """Raises Unreachable when the database does not answer."""
        with self._lock:
            self._check_open()
            return self._store

    @property
    def artifacts(self) -> ArtifactStore:
        with self._lock:
            return self._artifacts

    @property
    def watcher(self) -> Watcher:
        with self._lock:
            self._check_open()
            return self._watcher

    @property
    def live(self) -> Live:
        """Where running tasks are watched. Raises Unreachable when there is no broker."""
        with self._lock:
            self._check_open()
            if not self.address.broker:
                raise Unreachable(f"this farm has no broker, so nothing can be watched. {_NO_FARM}")
            return self._live

    def check_broker(self) -> None:
        """Return when the broker answers, so that what is written next will also run.

        Raises Unreachable.
        """
        with self._lock:
            self._check_open()
            if not self.address.broker:
                raise Unreachable(f"this farm has no broker, so nothing can run. {_NO_FARM}")
            if time.monotonic() - self._answered_at > ANSWER_SECONDS:
                self._broker.ping()
                self._answered_at = time.monotonic()

    @property
    def room(self) -> Room:
        """What still fits into this farm."""
        with self._lock:
            self._check_open()
            return self._room

    def hand_on(self, queued: Sequence[Task] = (), *, are_all: bool = False) -> None:
        """Publish what is written: what was inserted as queued, and unless that is all what is
        pending. An outage now is no fault: a keeper publishes later."""
        hints = [
            Hint(task.id, task.kind, task.model, task.batch_key, task.rows, task.priority)
            for task in queued
        ]
        try:
            self.check_broker()
            if hints:
                self._broker.publish(hints)
            if not are_all:
                dispatch(self.store, self._broker, self.address.window)
        except Unreachable:
            # The rows are safe, and every worker's keeper dispatches what is pending: at once,
            # where of what is queued it would first have to miss the messages.
            with suppress(Unreachable):
                self.store.requeue([task.id for task in queued])

    def close(self) -> None:
        """Stop watching and let the connections go. A second call does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for name in ("_watcher", "_live", "_broker", "_store"):
            door = self.__dict__.pop(name, None)
            if door is not None:
                door.close()

    @cached_property
    def _store(self) -> Store:
        return Store(self.address.store)

    @cached_property
    def _room(self) -> Room:
        return Room(self.store, self.address.max_open)

    @cached_property
    def _artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.address.artifacts)

    @cached_property
    def _watcher(self) -> Watcher:
        return Watcher(self.store)

    @cached_property
    def _live(self) -> Live:
        return Live(self.address.broker)

    @cached_property
    def _broker(self) -> Broker:
        return Broker(self.address.broker)

    def _check_open(self) -> None:
        if self._is_closed:
            raise GenfarmError("this farm is closed; open it again with Farm()")
