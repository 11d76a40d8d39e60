"""How long a worker's death was felt: from its SIGKILL to the first new attempt at one of its
tasks, read from the audit of attempts."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genfarm.torture.nemesis import Strike
from genfarm_shared.store import Store
from genfarm_shared.store.books import Attempt
from genfarm_shared.tasks import WorkerRecord


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds over every kill that took tasks with it; None when none did."""

    seconds: Sequence[float]

    @property
    def p50(self) -> float | None:
        return round(statistics.median(self.seconds), 3) if self.seconds else None

    @property
    def longest(self) -> float | None:
        return round(max(self.seconds), 3) if self.seconds else None


def measure_recovery(store: Store, strikes: Sequence[Strike]) -> Recovery:
    """Look every plain SIGKILL up; one after a SIGSTOP began its lease earlier, and is left out."""
    workers = store.list_workers(everyone=True)
    found = []
    for strike in strikes:
        worker = _killed(workers, strike)
        if worker is not None and strike.fault == "kill-worker":
            starts = store.list_starts(worker.id).values()
            redone = [at for tries in starts for at in _redone(tries, worker.id, strike.killed_at)]
            found += [min(redone) - strike.killed_at] if redone else []
    return Recovery(found)


def _killed(workers: Sequence[WorkerRecord], strike: Strike) -> WorkerRecord | None:
    """The newest worker of that pid which had started by then."""
    mine = [w for w in workers if w.pid == strike.killed and w.started_at <= strike.killed_at]
    return max(mine, key=lambda worker: worker.started_at, default=None)


def _redone(tries: Sequence[Attempt], worker_id: str, killed_at: float) -> Iterator[float]:
    """When a task that this worker held as it died was begun again."""
    for index, attempt in enumerate(tries[:-1]):
        held = attempt.outcome == "lost" and (attempt.ended_at or 0.0) >= killed_at
        if attempt.worker_id == worker_id and held:
            yield tries[index + 1].started_at
