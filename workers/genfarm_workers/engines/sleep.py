"""The sleep engine: holds many waiting tasks at once and uses no processor.

The concurrency demo's stand-in for a slow remote call. Imports no torch. Time
is what `step` is told; only a glimpse, between two steps, reads the clock.
"""

import math
import time
from collections.abc import Sequence

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.registry import Tick, no_tick


class SleepEngine:
    """Ends each task its own `seconds` after the first step that sees it."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        #: A row-step is one task; nothing is padded.
        self.work = Work()
        #: Admitted, not yet seen by a step, so without a start.
        self._fresh: dict[str, Claim] = {}
        #: Task id to the moment it ends, in the seconds of `step`, and its claim.
        self._asleep: dict[str, tuple[float, Claim]] = {}

    def load(self) -> None:
        """Nothing to load."""

    def free_rows(self, batch_key: str) -> int:
        return self.slots - len(self._fresh) - len(self._asleep)

    def admit(self, claims: Sequence[Claim]) -> None:
        self._fresh.update((claim.task_id, claim) for claim in claims)

    def step(self, now: float) -> list[Output]:
        for claim in self._fresh.values():
            self._asleep[claim.task_id] = (now + claim.params["seconds"], claim)
        self._fresh.clear()
        woken = [claim for end, claim in self._asleep.values() if end <= now]
        for claim in woken:
            del self._asleep[claim.task_id]
        self.work.add(computed=len(woken), useful=len(woken))
        return [
            Output(claim.task_id, output={"slept_seconds": claim.params["seconds"]})
            for claim in woken
        ]

    def wakes_at(self, now: float) -> float | None:
        if self._fresh:
            return now
        return min((end for end, _ in self._asleep.values()), default=None)

    def drop(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._fresh.pop(task_id, None)
            self._asleep.pop(task_id, None)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """In tenths of a second."""
        now = time.monotonic()
        found = [self._asleep[task_id] for task_id in task_ids if task_id in self._asleep]
        return [_glimpse(claim, end - now) for end, claim in found]


def _glimpse(claim: Claim, left: float) -> Glimpse:
    total = math.ceil(10 * claim.params["seconds"])
    return Glimpse(claim.task_id, min(max(total - math.ceil(10 * left), 0), total), total)
