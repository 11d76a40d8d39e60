"""Jobs, tasks and workers for tests of the shared rooms."""

import itertools
import subprocess
import sys
from typing import Any

from genfarm_shared.store import Store
from genfarm_shared.tasks import Claim, Failure, JobRecord, Outcome, State, Task, WorkerRecord

_numbers = itertools.count()


def add_job(store: Store, total: int, *, released: bool = True, **fields: Any) -> JobRecord:
    """A job of that many sleep tasks."""
    number = next(_numbers)
    given: dict[str, Any] = {"model": "sleep", **fields}
    job = JobRecord(id=f"job{number}", kind="sleep", params={}, created_at=number, **given)
    store.open_job(job)
    store.insert([make_task(job, index) for index in range(total)])
    if released:
        store.seal(job.id, total)
    return job


def make_task(job: JobRecord, index: int, **fields: Any) -> Task:
    given: dict[str, Any] = {"priority": job.priority, **fields}
    return Task(
        id=f"{job.id}-{index:06d}",
        job_id=job.id,
        index=index,
        custom_id=f"{index:06d}",
        kind="sleep",
        model=job.model,
        batch_key=job.model,
        rows=1,
        params={"seconds": 0.0, "seed": index},
        seed=index,
        **given,
    )


def ids(job: JobRecord, total: int) -> list[str]:
    return [f"{job.id}-{index:06d}" for index in range(total)]


def add_worker(store: Store, name: str = "w1", process: str = "") -> str:
    """A worker that lives."""
    store.enlist(
        WorkerRecord(
            id=name,
            node=f"{name}@test",
            host="test",
            pid=1,
            process=process,
            device="cpu",
            state="alive",
            models=[],
            version="0",
            started_at=0.0,
            beat_at=0.0,
        )
    )
    return name


def ended_process() -> str:
    """The name of a process that ran here and has ended."""
    code = "from genfarm_shared.liveness import name_process; print(name_process())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def done(claim: Claim, output: Any = None) -> Outcome:
    return Outcome(claim.task_id, claim.attempt, {"value": output})


def failed(claim: Claim, *, retryable: bool = False) -> Outcome:
    failure = Failure("internal", "it broke", retryable=retryable)
    return Outcome(claim.task_id, claim.attempt, failure=failure)


def commit(store: Store, *outcomes: Outcome, worker: str = "w1", max_attempts: int = 3) -> Any:
    return store.commit(outcomes, worker, max_attempts=max_attempts)


def states(store: Store, job: JobRecord) -> dict[State, int]:
    return store.count([job.id])[job.id]
