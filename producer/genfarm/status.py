"""How a job stands, and waiting for its end. Knows no result."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from genfarm.following import Pacer
from genfarm.progress import Bar
from genfarm_shared.store import Store
from genfarm_shared.tasks import TERMINAL, JobRecord, State

#: Seconds over which the rate of a running job is taken.
RATE_SECONDS = 30.0
#: Seconds between two looks at the workers while waiting.
WORKERS_SECONDS = 2.0
#: A job whose last input was written so long ago, and that is not sealed, may have lost its
#: producer: half of what a person would wait before looking. Not measured.
QUIET_SECONDS = 60.0
#: What the progress bar counts.
UNITS: Mapping[str, str] = {"text-generation": "text", "text-to-image": "img"}


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job stands."""

    #: Tasks in each state; states with none are 0.
    counts: Mapping[State, int]
    #: None while inputs are still being written.
    total: int | None
    #: Tasks that ended per second: of late while it runs, over all once it is done.
    rate: float
    #: Seconds until the last task ends at that rate; None when nothing moves.
    eta: float | None
    #: Seconds from the job's creation to its last end so far, or to now while it runs.
    elapsed: float

    @property
    def ended(self) -> int:
        return sum(self.counts[state] for state in TERMINAL)

    @property
    def failed(self) -> int:
        """Tasks that ended without a result."""
        return self.ended - self.counts[State.SUCCEEDED]

    @property
    def is_done(self) -> bool:
        return self.total is not None and self.ended >= self.total


def read_status(store: Store, job: JobRecord) -> JobStatus:
    """How the job stands now. Raises Unreachable."""
    counts = dict.fromkeys(State, 0) | store.count([job.id])[job.id]
    total = job.total if job.total is not None else store.find_job(job.id).total
    pace = store.pace(job.id, RATE_SECONDS)
    ended = sum(counts[state] for state in TERMINAL)
    is_done = total is not None and ended >= total
    until = pace.last_at if is_done and pace.last_at is not None else time.time()
    elapsed = max(until - job.created_at, 0.001)
    rate = ended / elapsed if is_done else pace.recent / min(elapsed, RATE_SECONDS)
    left = (sum(counts.values()) if total is None else total) - ended
    return JobStatus(counts, total, rate, left / rate if rate else None, elapsed)


def await_end(store: Store, job: JobRecord, timeout: float | None, show: bool | None) -> None:
    """Return when every task of the job has ended. Raises ItemTimeout after `timeout` seconds."""
    called = job.name or job.id
    pacer = Pacer(timeout, f"job {called} has not ended")
    status = read_status(store, job)
    unit = UNITS.get(job.kind, "task")
    with Bar(called, status.total, done=status.ended, unit=unit, show=show) as bar:
        note, noted_at, is_told = "", 0.0, False
        while not status.is_done:
            looked, ended = time.monotonic(), status.ended
            if looked - noted_at > WORKERS_SECONDS:
                note, noted_at = _note_workers(store), looked
                is_told = is_told or (status.total is None and _tell_if_quiet(store, job))
            failed = f", {status.failed} failed" if status.failed else ""
            bar.move_to(status.ended, total=status.total, note=note + failed)
            status = read_status(store, job)
            if status.ended > ended:
                pacer.hear()
            if not status.is_done:
                pacer.rest(cost=time.monotonic() - looked)
        bar.move_to(status.ended, total=status.total)


def _tell_if_quiet(store: Store, job: JobRecord) -> bool:
    """Warn when a job that is still being written has had no input for long."""
    quiet = store.quiet_seconds(job.id)
    if quiet < QUIET_SECONDS:
        return False
    warnings.warn(
        f"job {job.name or job.id} is not fully written and has had no input for {quiet:.0f} s; "
        "its producer may have gone: with the same call submit it again, which completes it, "
        f"or cancel it (`genfarm jobs cancel {job.id}`)",
        stacklevel=2,
    )
    return True


def _note_workers(store: Store) -> str:
    number = len(store.list_workers())
    return f"{number} worker" if number == 1 else f"{number} workers"
