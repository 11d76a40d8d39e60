"""The busy engine: one task a step, each its own `seconds` of processor time.

Stands for a model of a known cost where the farm's own cost is measured. The
time is the thread's, not the clock's: what a neighbour takes from it is not
counted as done. Answers drills; imports no torch.
"""

import time
from collections import deque
from collections.abc import Sequence

from genfarm_shared.drill import answer
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.registry import Tick, no_tick


class BusyEngine:
    """Ends its tasks one by one, in the order in which they came."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        #: A row-step is one task.
        self.work = Work()
        self._tasks: deque[Claim] = deque()

    def load(self) -> None:
        """Nothing to load."""

    def free_rows(self, batch_key: str) -> int:
        return self.slots - len(self._tasks)

    def admit(self, claims: Sequence[Claim]) -> None:
        self._tasks.extend(claims)

    def step(self, now: float) -> list[Output]:
        if not self._tasks:
            return []
        claim = self._tasks.popleft()
        until = time.thread_time() + claim.params["seconds"]
        while time.thread_time() < until:
            pass
        self.work.add(computed=1, useful=1)
        return [Output(claim.task_id, output={"answer": answer(claim.seed, claim.params["text"])})]

    def wakes_at(self, now: float) -> float | None:
        return now if self._tasks else None

    def drop(self, task_ids: Sequence[str]) -> None:
        gone = set(task_ids)
        self._tasks = deque(claim for claim in self._tasks if claim.task_id not in gone)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """A task is either waiting or over."""
        return []
