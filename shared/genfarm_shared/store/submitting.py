"""What a producer writes: a job, its tasks, and a person's later word about them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from genfarm_shared.schema import attempts, jobs, results, tasks
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import Database, insert_new
from genfarm_shared.tasks import JobRecord, State, Task

#: Rows a statement takes; SQLite allows 32,766 bound values, a task binds about 20.
CHUNK = 1000


class Submitting(Database):
    """The producer's verbs. Once `insert` has returned, the tasks cannot be lost."""

    def open_job(self, job: JobRecord) -> tuple[JobRecord, bool]:
        """Write the job down, or find the one of the same identity.

        Returns the job that is in the store, and whether this call wrote it.
        """

        def work(connection: Connection) -> tuple[JobRecord, bool]:
            connection.execute(insert_new(connection, jobs), [_job_row(job)])
            same = jobs.c.id == job.id
            if job.identity is not None:
                same = jobs.c.identity == job.identity
            found = JobRecord(**connection.execute(select(jobs).where(same)).one()._mapping)
            return found, found.id == job.id

        return self.write(work)

    def insert(self, new: Sequence[Task]) -> None:
        """Write tasks down as pending, all or none of the call; rows already there stay."""

        def work(connection: Connection) -> None:
            now = self.clock(connection)
            for start in range(0, len(new), CHUNK):
                rows = [_task_row(task, now) for task in new[start : start + CHUNK]]
                connection.execute(insert_new(connection, tasks), rows)

        self.write(work)

    def seal(self, job_id: str, total: int) -> None:
        """Say that the last input is written; the job's tasks may now be dispatched."""
        statement = update(jobs).where(jobs.c.id == job_id).values(total=total, released=True)
        self.write(lambda connection: connection.execute(statement))

    def disown(self, job_id: str) -> None:
        """Take a job's identity away, so that another may bear it; its tasks go on."""
        statement = update(jobs).where(jobs.c.id == job_id).values(identity=None)
        self.write(lambda connection: connection.execute(statement))

    def discard(self, job_id: str) -> None:
        """Remove a job whose submission failed before any of it was released."""
        statement = delete(jobs).where(jobs.c.id == job_id, jobs.c.released.is_(False))
        self.write(lambda connection: connection.execute(statement))

    def cancel(self, job_id: str, task_ids: Collection[str] | None = None) -> int:
        """Withdraw what has not ended, running tasks too; returns how many.

        A result that a worker brings later is refused by the state.
        """
        open_states = (State.PENDING, State.QUEUED, State.RUNNING)

        def work(connection: Connection) -> int:
            now = self.clock(connection)
            where = [tasks.c.job_id == job_id, tasks.c.state.in_(open_states)]
            if task_ids is not None:
                where.append(tasks.c.id.in_(task_ids))
            ended = connection.execute(
                update(tasks)
                .where(*where)
                .values(
                    state=State.CANCELLED,
                    finished_at=now,
                    reason_code="cancelled",
                    reason="cancelled before a result was recorded",
                )
                .returning(tasks.c.id, tasks.c.attempt)
            ).all()
            close_attempts(connection, [(row.id, row.attempt) for row in ended], "cancelled", now)
            return len(ended)

        return self.write(work)

    def retry(
        self, job_id: str, states: Collection[State], custom_ids: Collection[str] | None = None
    ) -> int:
        """Make ended tasks pending again, as new attempts; returns how many.

        Only states that left no result can be retried; the audit keeps the old attempts. A
        deadline that has passed is lifted, or what expired would expire again.
        """

        def work(connection: Connection) -> int:
            where = [
                tasks.c.job_id == job_id,
                tasks.c.state.in_([s for s in states if s is not State.SUCCEEDED]),
            ]
            if custom_ids is not None:
                where.append(or_(tasks.c.custom_id.in_(custom_ids), tasks.c.id.in_(custom_ids)))
            done = connection.execute(
                update(tasks).where(*where).values(_RETRIED).returning(tasks.c.id)
            ).all()
            late = (jobs.c.id == job_id, jobs.c.deadline < self.clock(connection))
            connection.execute(update(jobs).where(*late).values(deadline=None))
            return len(done)

        return self.write(work)

    def remove(self, job_id: str) -> None:
        """Delete an ended job with its tasks, results and audit. Artefacts stay."""

        def work(connection: Connection) -> None:
            ids = select(tasks.c.id).where(tasks.c.job_id == job_id).scalar_subquery()
            for table in (results, attempts):
                connection.execute(delete(table).where(table.c.task_id.in_(ids)))
            connection.execute(delete(tasks).where(tasks.c.job_id == job_id))
            connection.execute(delete(jobs).where(jobs.c.id == job_id))

        self.write(work)


#: What a retried task forgets. The attempt number is kept: it is the fence.
_RETRIED: dict[str, Any] = {
    "state": State.PENDING,
    "retries": tasks.c.retries + 1,
    "losses": 0,
    "crashes": 0,
    "suspect": None,
    "worker_id": None,
    "not_before": 0.0,
    "queued_at": None,
    "claimed_at": None,
    "finished_at": None,
    "reason_code": None,
    "reason": None,
}


def _job_row(job: JobRecord) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in jobs.columns}


def _task_row(task: Task, now: float) -> dict[str, Any]:
    return {
        "id": task.id,
        "job_id": task.job_id,
        "index": task.index,
        "custom_id": task.custom_id,
        "kind": task.kind,
        "model": task.model,
        "batch_key": task.batch_key,
        "rows": task.rows,
        "params": dict(task.params),
        "seed": task.seed,
        "priority": task.priority,
        "state": State.PENDING,
        "created_at": now,
    }
