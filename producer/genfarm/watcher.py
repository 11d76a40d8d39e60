"""One thread that resolves futures: it asks the store which of the watched tasks have ended.

Knows neither queue nor results: whoever is watched says what a record means.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from genfarm_shared.errors import GenfarmError, Unreachable
from genfarm_shared.store import Store
from genfarm_shared.tasks import TaskRecord

log = logging.getLogger(__name__)

#: Seconds between two looks: the first after something ended, the last when nothing does.
SHORTEST, LONGEST = 0.02, 0.25
#: Seconds to leave a store alone that does not answer.
OUTAGE = 1.0
#: Ids per look and per statement; a look then costs some 10 ms on SQLite.
PER_LOOK, PER_STATEMENT = 2000, 500


class Watched(Protocol):
    """Who waits for one task."""

    id: str

    def settle(self, record: TaskRecord) -> None:
        """The task has ended so. Called once, from the watcher's thread."""

    def abandon(self, error: Exception) -> None:
        """Nobody watches any more. Called from any thread."""

    def done(self) -> bool:
        """Whether it needs no watching."""


class Watcher:
    """Watches tasks until they end. Thread-safe; its one thread starts with the first task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: By task id; several may wait for one task.
        self._waiting: dict[str, list[Watched]] = {}
        #: Ids in the order of their next look.
        self._turns: deque[str] = deque()
        self._lock = threading.Lock()
        #: Set when there is news: something new to watch, or the end.
        self._news = threading.Event()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, watched: Iterable[Watched]) -> None:
        """Settle each when its task has ended."""
        with self._lock:
            for one in watched:
                if one.id not in self._waiting:
                    self._turns.append(one.id)
                self._waiting.setdefault(one.id, []).append(one)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="genfarm-watcher", daemon=True
                )
                self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Stop, and abandon whatever is still waiting."""
        self._is_closed.set()
        self._news.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._abandon(GenfarmError("the farm was closed; the task goes on: see Farm().job(id)"))

    def _run(self) -> None:
        pause = SHORTEST
        try:
            while not self._is_closed.is_set():
                settled = self._look()
                pause = SHORTEST if settled else min(pause * 1.5, LONGEST)
                self._rest(pause)
        except Exception as error:  # the thread's edge: nobody may wait for ever
            log.exception("the watcher stopped; every future it held gets this error")
            self._abandon(error, is_over=True)

    def _rest(self, pause: float) -> None:
        # The short part is slept whole, so that a loop of submits does not turn into a
        # loop of looks.
        self._is_closed.wait(SHORTEST)
        self._news.wait(pause - SHORTEST if self._turns else None)
        self._news.clear()

    def _look(self) -> int:
        """Ask about the ids whose turn it is; returns how many have ended."""
        with self._lock:
            ids = [self._turns.popleft() for _ in range(min(PER_LOOK, len(self._turns)))]
            # Whatever was cancelled here needs no more looks.
            for gone in [i for i in ids if all(one.done() for one in self._waiting[i])]:
                del self._waiting[gone]
            ids = [i for i in ids if i in self._waiting]
        ended = self._ended(ids)
        with self._lock:
            settled = [(self._waiting.pop(record.id), record) for record in ended]
            self._turns.extend(i for i in ids if i in self._waiting)
        for waiting, record in settled:
            for one in waiting:
                self._settle(one, record)
        return len(settled)

    def _settle(self, one: Watched, record: TaskRecord) -> None:
        try:
            one.settle(record)
        except Exception as error:  # its record is at fault; the others' are not
            log.exception("task %s has ended, and its future gets this error", record.id)
            one.abandon(error)

    def _ended(self, ids: list[str]) -> list[TaskRecord]:
        found: list[TaskRecord] = []
        try:
            for start in range(0, len(ids), PER_STATEMENT):
                found += self._store.read_tasks(ids[start : start + PER_STATEMENT], ended=True)
        except Unreachable as error:
            log.warning("futures wait while the store is away: %s", error)
            self._is_closed.wait(OUTAGE)
        return found

    def _abandon(self, error: Exception, *, is_over: bool = False) -> None:
        with self._lock:
            if is_over:  # under the lock that `watch` takes, so that it starts a thread anew
                self._thread = None
            waiting, self._waiting = self._waiting, {}
            self._turns.clear()
        for watched in waiting.values():
            for one in watched:
                one.abandon(error)
