"""Writes refused messages down, away from Celery's thread, and then lets them go.

While the store is down they stay in the worker's hands in Redis, and so
outlive the worker. Knows no message.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial

from genfarm_shared.messages import Letter
from genfarm_shared.store import Store
from genfarm_workers.patience import insist

#: Letters that may wait; above it the worker takes no message. With 128 that are being written
#: and a last take of 256, at most 640 of 64 kB: 40 MB.
MOST = 256
#: Letters in one transaction. Not measured.
AT_ONCE = 128


class Undertaker(threading.Thread):
    """One worker's thread for dead letters."""

    def __init__(self, store: Store, let_go: Callable[[Sequence[str]], None]) -> None:
        """`let_go` is told the un-acked tags of what has been written."""
        super().__init__(name="undertaker", daemon=True)
        self._store = store
        self._let_go = let_go
        self._letters: queue.SimpleQueue[tuple[str, Letter]] = queue.SimpleQueue()

    def lay_out(self, letters: Sequence[tuple[str, Letter]]) -> None:
        """Take letters over, each with its un-acked tag."""
        for letter in letters:
            self._letters.put(letter)

    def is_behind(self) -> bool:
        """Whether so many wait that no further message should be taken."""
        return self._letters.qsize() > MOST

    def run(self) -> None:
        while True:
            found = [self._letters.get()]
            while len(found) < AT_ONCE and not self._letters.empty():
                found.append(self._letters.get())
            letters = [letter for _, letter in found]
            insist(partial(self._store.bury, letters), meanwhile="dead letters wait")
            self._let_go([tag for tag, _ in found])
