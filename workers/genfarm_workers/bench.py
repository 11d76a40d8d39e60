"""Which models this worker leaves alone, and whether its engine can work at all. Pure.

    a load fails         the model rests a second, then two; its tasks go to other workers
    for the third time   crash_loop: the model is tried once a minute, then ever more
                         rarely; its tasks are failed where no other worker could load it
    no engine starts     parked: the worker takes no task until one does

Tasks of a model that is left alone are not lost time: they wait in Redis for
whoever can run them. Knows no store, no queue and no process.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genfarm_shared.tasks import WorkerRecord

#: Loads that fail in a row before the model is said to be in a crash loop.
TRIES = 3
#: Seconds of rest after the first failed load; doubled by the next.
REST = 1.0
#: Seconds between tries in a crash loop, at first and at most: a load may take the whole
#: engine process with it, and the other models' work. Not measured.
LOOP_REST, LONGEST_REST = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class _Fault:
    tries: int
    #: Monotonic seconds until which it is not tried again.
    until: float
    reason: str


class Bench:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._faults: dict[str, _Fault] = {}
        self._parked = ""
        #: Models that another worker could load, as far as its own report tells.
        self._elsewhere: frozenset[str] = frozenset()

    def blame(self, model: str, reason: str) -> None:
        """A load of that model failed, or ended the engine process."""
        with self._lock:
            before = self._faults.get(model)
            tries = before.tries + 1 if before is not None else 1
            if tries < TRIES:
                rest = REST * 2 ** (tries - 1)
            else:
                rest = min(LOOP_REST * 2 ** min(tries - TRIES, 10), LONGEST_REST)
            self._faults[model] = _Fault(tries, self._clock() + rest, reason)

    def clear(self, model: str) -> None:
        """The model is loaded."""
        with self._lock:
            self._faults.pop(model, None)

    def park(self, reason: str) -> None:
        """The worker can run nothing."""
        with self._lock:
            self._parked = reason

    def unpark(self) -> None:
        """An engine process runs."""
        with self._lock:
            self._parked = ""

    def look(self, workers: Sequence[WorkerRecord], worker_id: str) -> None:
        """Take in what the others say of themselves."""
        able: set[str] = set()
        for worker in workers:
            is_other = worker.id != worker_id and worker.state == "alive"
            if is_other and not worker.report.get("parked"):
                looping = worker.report.get("crash_loop", {})
                able |= {m["key"] for m in worker.models if m["key"] not in looping}
        with self._lock:
            self._elsewhere = frozenset(able)

    def is_quiet(self) -> bool:
        """Whether there is nothing to say, so that nobody need look at the others."""
        with self._lock:
            return not self._faults

    def is_closed(self, model: str) -> bool:
        """Whether to take no task of that model now."""
        with self._lock:
            fault = self._faults.get(model)
            resting = fault is not None and self._clock() < fault.until
            return bool(self._parked) or (resting and self._sentence(model) is None)

    def verdict(self, model: str) -> str | None:
        """Why a task of that model is to be failed: it cannot be loaded, here or elsewhere.

        None where it may be tried, by this worker later or by another now.
        """
        with self._lock:
            fault = self._faults.get(model)
            is_due = fault is not None and self._clock() >= fault.until
            return None if is_due else self._sentence(model)

    def report(self) -> dict[str, Any]:
        """What to say of it in the worker's beat."""
        with self._lock:
            looping = {m: f.reason for m, f in self._faults.items() if f.tries >= TRIES}
            return {"crash_loop": looping, "parked": self._parked}

    def _sentence(self, model: str) -> str | None:
        fault = self._faults.get(model)
        if fault is None or fault.tries < TRIES or model in self._elsewhere:
            return None
        return f"{fault.reason} (tried {fault.tries} times, and no other worker serves it)"
