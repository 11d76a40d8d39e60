"""Keeps the worker's lease: one beat a second for the whole process.

A worker that was judged dead has lost its tasks to others; it then ends at
once rather than work on for nothing. Knows no engine and no queue.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from genfarm_shared.errors import Unreachable
from genfarm_shared.store import Store

log = logging.getLogger(__name__)


class Lease(threading.Thread):
    """Beats until stopped."""

    def __init__(
        self,
        store: Store,
        worker_id: str,
        beat_seconds: float,
        report: Callable[[], Mapping[str, Any]],
        after: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """`after` follows each beat that reached the store; `on_lost` a beat that was refused."""
        super().__init__(name="lease", daemon=True)
        self._store = store
        self._worker_id = worker_id
        self._beat_seconds = beat_seconds
        self._report = report
        self._after = after
        self._on_lost = on_lost
        self._stopped = threading.Event()

    def run(self) -> None:
        failing = False
        while not self._stopped.wait(self._beat_seconds):
            try:
                if not self._store.beat(self._worker_id, self._report()):
                    log.error("worker %s was judged dead by the farm; it ends now", self._worker_id)
                    self._on_lost()
                    return
                self._after()
            except Unreachable as error:
                if not failing:
                    log.warning("no beat: %s", error)
                failing = True
            else:
                failing = False

    def stop(self) -> None:
        self._stopped.set()
