"""Accounts for a worker's time. Pure: every time is passed in.

    engine process   Spent    useful, padding, load         said with each `alive`
    worker process   Ledger   holding, database, wait, idle; puts both together

What each word means is said in `genfarm_shared/goodput.py`.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from genfarm_shared.goodput import MINUTE, TOTAL, Goodput

#: Seconds that the rolling figures look back.
WINDOW_SECONDS = 60.0

USEFUL, PADDING, LOAD = "useful", "padding", "load"
HOLDING, DATABASE, WAIT, IDLE = "holding", "database", "wait", "idle"


class Spent:
    """What an engine process did with its time. One thread's."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._account = ""
        self._since = 0.0

    def begin(self, account: str, now: float) -> None:
        """From now on the time belongs there, until `end`."""
        self._account, self._since = account, now

    def end(self, now: float, useful: float = 1.0) -> None:
        """`useful` is the share of the rows computed since `begin` that a task needed."""
        seconds = now - self._since
        wasted = seconds * (1.0 - useful) if self._account == USEFUL else 0.0
        self._seconds[self._account] += seconds - wasted
        self._seconds[PADDING] += wasted
        self._account = ""

    def totals(self, now: float) -> dict[str, float]:
        """Seconds by account, those of what is going on included."""
        running = {self._account: now - self._since} if self._account else {}
        return {
            name: self._seconds[name] + running.get(name, 0.0) for name in (USEFUL, PADDING, LOAD)
        }


class Ledger:
    """A worker's own accounts, and its engine's. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._is = {HOLDING: False, DATABASE: False, WAIT: False}
        self._mine: defaultdict[str, float] = defaultdict(float)
        self._since = clock()
        #: Of engine processes that are gone, and of the one that lives.
        self._buried: defaultdict[str, float] = defaultdict(float)
        self._engine: Mapping[str, float] = {}
        self._is_engine_up = False
        #: What both accounts together came to, when they were last known of one moment.
        self._known: deque[tuple[float, Goodput]] = deque([(self._since, Goodput())])

    def note(self, **states: bool) -> None:
        """Say what holds from now on: `holding`, the engine has tasks in hand; `database`, some
        are being claimed; `wait`, some wait in the worker. The first that holds is charged."""
        with self._lock:
            if any(self._is[name] != state for name, state in states.items()):
                self._settle(self._clock())
                self._is.update(states)

    def hear(self, spent: Mapping[str, float]) -> None:
        """Take in what the engine process says of its time since its start."""
        with self._lock:
            self._is_engine_up = True
            self._engine = spent
            self._remember(self._clock())

    def bury(self) -> None:
        """The engine process is gone; the next begins at nothing."""
        with self._lock:
            for name, seconds in self._engine.items():
                self._buried[name] += seconds
            self._engine = {}
            self._is_engine_up = False

    def report(self) -> dict[str, Any]:
        """Of the last minute, and of all time, in JSON."""
        with self._lock:
            if not self._is_engine_up:  # an engine would say so itself twice a second
                self._remember(self._clock())
            (_, first), (_, latest) = self._known[0], self._known[-1]
            return {
                MINUTE: latest.since(first).to_json(),
                TOTAL: latest.to_json(),
            }

    def _settle(self, now: float) -> None:
        account = next((name for name, holds in self._is.items() if holds), IDLE)
        self._mine[account] += now - self._since
        self._since = now

    def _remember(self, now: float) -> None:
        self._settle(now)
        self._known.append((now, self._sum()))
        # The newest of those that are a whole window old stays: the difference starts there.
        while len(self._known) > 1 and self._known[1][0] <= now - WINDOW_SECONDS:
            self._known.popleft()

    def _sum(self) -> Goodput:
        useful, padding, load = (
            self._buried[name] + self._engine.get(name, 0.0) for name in (USEFUL, PADDING, LOAD)
        )
        beside = self._mine[HOLDING] - useful - padding - load
        return Goodput(
            useful=useful,
            padding=padding,
            load=load,
            serialise=max(beside, 0.0),
            **self._without(max(-beside, 0.0)),
        )

    def _without(self, seconds: float) -> dict[str, float]:
        """The time with nothing in hand but for so much of it, in which the engine was at work
        all the same: at the end of a step whose tasks were cancelled, say."""
        rest = {}
        for name in (IDLE, WAIT, DATABASE):
            rest[name] = max(self._mine[name] - seconds, 0.0)
            seconds -= self._mine[name] - rest[name]
        return rest
