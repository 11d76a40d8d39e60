"""Starts the next engine process after one has died, once its device answers. Knows no task."""

import logging
import threading
from collections.abc import Callable

from genfarm_workers.host import EngineHost
from genfarm_workers.verdict import Death

log = logging.getLogger(__name__)

#: Engines in a row that die before they are ready, after which the worker takes no more tasks.
FALSE_STARTS = 3


class Reviver:
    """For one thread."""

    def __init__(
        self, host: EngineHost, stopped: threading.Event, notify: Callable[[], None]
    ) -> None:
        """`notify` is called when the worker is parked, and when an engine has been started."""
        self._host = host
        self._stopped = stopped
        self._notify = notify
        self._false_starts = 0

    def diagnose(self, death: Death) -> str | None:
        """What is wrong with the device, where the death casts doubt on it."""
        self._false_starts = 0 if death.was_ready else self._false_starts + 1
        if self._false_starts >= FALSE_STARTS:
            self._host.bench.park(f"no engine process starts: {death.reason}")
        return self._host.prober.probe() if death.casts_doubt else None

    def revive(self, fault: str | None) -> None:
        """Start the next engine; park the worker while its device does not answer."""
        prober = self._host.prober
        while fault is not None:
            log.error("no engine is started: %s", fault)
            if prober.is_sick:
                self._host.bench.park(fault)
            self._notify()
            if self._stopped.wait(prober.pause_seconds()):
                return
            fault = prober.probe()
        if not self._stopped.wait(self._host.pause_seconds()):
            self._host.start()
        self._notify()
