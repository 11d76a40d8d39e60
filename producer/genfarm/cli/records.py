"""Jobs and results as the JSON and the table rows that commands give."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genfarm.cli.words import ago
from genfarm_shared.goodput import goodput_of, together
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, State, TaskRecord, WorkerRecord

#: Tasks read from the store at once; bounds memory, not measured.
PAGE = 500
COLUMNS = ("job", "name", "kind", "model", "tasks", "succeeded", "failed", "open", "age")


def job_record(job: JobRecord, counts: Mapping[State, int]) -> dict[str, Any]:
    """A job for programs. `failed` counts every end without a result."""
    ended = {state: number for state, number in counts.items() if state.is_terminal}
    succeeded = ended.get(State.SUCCEEDED, 0)
    open_tasks = sum(counts.values()) - sum(ended.values())
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "model": job.model,
        "created_at": job.created_at,
        "total": job.total,
        "state": "running" if open_tasks or not job.released else "ended",
        "succeeded": succeeded,
        "failed": sum(ended.values()) - succeeded,
        "open": open_tasks,
        "states": {state.value: number for state, number in sorted(counts.items())},
    }


def job_row(record: Mapping[str, Any]) -> Sequence[object]:
    """The same job for people, in the order of COLUMNS."""
    names = ("id", "name", "kind", "model", "total", "succeeded", "failed", "open")
    shown = {**record, "total": "unfinished" if record["total"] is None else record["total"]}
    return [*(shown[name] for name in names), ago(record["created_at"], time.time())]


def read_job(store: Store, id_or_name: str) -> dict[str, Any]:
    """One job as it stands. Raises NotFound."""
    job = store.find_job(id_or_name)
    record = job_record(job, store.count([job.id])[job.id])
    return record | {"goodput": goodput_record(job, store.list_workers())}


def goodput_record(job: JobRecord, workers: Sequence[WorkerRecord]) -> dict[str, Any]:
    """How well the workers that have its model loaded did in the last minute, all work counted:
    one device runs the batches of several jobs, and no second of it belongs to one of them."""
    theirs = [w for w in workers if job.model in w.report.get("loaded", ())]
    return {"workers": len(theirs), **together(map(goodput_of, theirs)).to_json()}


def read_all(store: Store, job_id: str) -> Iterator[TaskRecord]:
    """Every task of a job, in the order asked for."""
    last = -1
    while page := store.read_after(job_id, last, PAGE):
        yield from page
        last = page[-1].index


def result_record(task: TaskRecord) -> dict[str, Any]:
    """One task's outcome, a line of `genfarm results`."""
    record: dict[str, Any] = {
        "custom_id": task.custom_id,
        "index": task.index,
        "state": task.state.value,
        "seed": task.seed,
        "input": dict(task.params),
        "output": task.output,
        "artifacts": [
            {"name": a.name, "sha256": a.sha256, "size": a.size, "media_type": a.media_type}
            for a in task.artifacts
        ],
        "attempt": task.attempt,
    }
    if task.reason_code:
        record["error"] = {"code": task.reason_code, "message": task.reason}
    return record
