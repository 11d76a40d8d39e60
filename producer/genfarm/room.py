"""Backpressure: how many tasks may be open in a farm, and waiting until more fit.

Counting a million open rows takes a tenth of a second, so the count is taken
now and then and what this producer writes is added in between. Two producers
may together pass the limit by what they write between two counts: it guards a
disk and is no promise.
"""

import threading
import time
from typing import Literal

from genfarm_shared.errors import QueueFull
from genfarm_shared.store import Store

WhenFull = Literal["raise", "wait"]

#: Seconds for which a count is believed, so that counting takes a hundredth of the time.
RECOUNT_SECONDS = 10.0
#: Seconds between two looks while there is no room.
LOOK_SECONDS = 0.5


class Room:
    """What still fits into a farm. Safe for many threads."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        #: Most open tasks that the farm may have.
        self.limit = limit
        self._lock = threading.Lock()
        self._open = 0
        self._counted_at = float("-inf")

    def take(self, number: int, when_full: WhenFull) -> None:
        """Return when that many more tasks fit. Raises QueueFull, or waits."""
        while not self._has_taken(number):
            if when_full == "raise" or number > self.limit:
                raise self._full(number)
            time.sleep(LOOK_SECONDS)

    def _has_taken(self, number: int) -> bool:
        with self._lock:
            is_old = time.monotonic() - self._counted_at > RECOUNT_SECONDS
            if is_old or self._open + number > self.limit:
                self._open = self._store.count_open()
                self._counted_at = time.monotonic()
            fits = self._open + number <= self.limit
            self._open += number * fits
            return fits

    def _full(self, number: int) -> QueueFull:
        if number > self.limit:
            said = (
                f"{number:,} tasks can never fit into this farm, whose limit is {self.limit:,} "
                "open ones. Submit them in parts or from a generator, which waits for room,"
            )
        else:
            said = (
                f"{self._open:,} tasks are open in this farm and {number:,} more would pass its "
                f"limit of {self.limit:,}. Wait until some have ended (when_full='wait' does), add "
                "workers,"
            )
        return QueueFull(
            f"{said} or raise GENFARM_MAX_OPEN where its database has room",
            open_tasks=self._open,
            limit=self.limit,
        )
