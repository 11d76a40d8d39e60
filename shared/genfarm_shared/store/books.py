"""What an audit reads: each task beside its attempts and its result, as the rows stand.

Judges nothing: the rules are the auditor's. Also holds the store still, for
drills of a database that stalls.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from genfarm_shared.schema import attempts, jobs, metadata, results, tasks
from genfarm_shared.store.database import Database
from genfarm_shared.tasks import Artifact, State

#: Ids that one statement names; SQLite allows 32,766 bound values.
IDS = 1000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the audit."""

    number: int
    worker_id: str
    started_at: float
    #: None while it runs.
    ended_at: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A result row without its output."""

    attempt: int
    worker_id: str
    recorded_at: float
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A task, every attempt at it, and its result if there is one."""

    id: str
    job_id: str
    index: int
    state: State
    attempt: int
    losses: int
    crashes: int
    retries: int
    finished_at: float | None
    reason_code: str | None
    attempts: tuple[Attempt, ...]
    result: Recorded | None


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a job there is."""

    #: Inputs of the job; None while they are being written, or when that broke off.
    total: int | None
    #: Whether its tasks may run.
    released: bool
    #: Task rows.
    rows: int
    #: Highest index of a row; None without rows.
    last: int | None


class Books(Database):
    """The auditor's verbs."""

    def read_entries(self, job_id: str, index: int, limit: int) -> list[Entry]:
        """Tasks of a job with their books, in order, from the one after `index`."""
        where = (tasks.c.job_id == job_id, tasks.c.index > index)
        return self.read(lambda c: _entries(c, where, limit))

    def reread_entries(self, task_ids: Collection[str]) -> list[Entry]:
        """The books of those tasks now, in no order; at most IDS of them."""
        where = (tasks.c.id.in_(sorted(task_ids)),)
        return self.read(lambda c: _entries(c, where, IDS))

    def measure(self, job_id: str) -> Extent:
        """How many rows a job should have, and has."""

        def work(connection: Connection) -> Extent:
            job = connection.execute(
                select(jobs.c.total, jobs.c.released).where(jobs.c.id == job_id)
            ).one()
            rows, last = connection.execute(
                select(func.count(), func.max(tasks.c.index)).where(tasks.c.job_id == job_id)
            ).one()
            return Extent(job.total, job.released, rows, last)

        return self.read(work)

    def count_ended(self) -> int:
        """How many tasks of the whole store have ended."""
        statement = select(func.count()).where(tasks.c.finished_at.is_not(None))
        return self.read(lambda c: int(c.execute(statement).scalar_one()))

    def list_ends(self) -> tuple[list[float], list[float]]:
        """When each task of the whole store ended, and when each attempt was lost or crashed;
        both sorted. For a store of some thousands."""

        def work(connection: Connection) -> tuple[list[float], list[float]]:
            ended = select(tasks.c.finished_at).where(tasks.c.finished_at.is_not(None))
            lost = attempts.c.outcome.in_(("lost", "crashed"))
            losses = select(attempts.c.ended_at).where(lost, attempts.c.ended_at.is_not(None))
            found = [connection.execute(statement).scalars() for statement in (ended, losses)]
            return sorted(found[0]), sorted(found[1])

        return self.read(work)

    def list_starts(self, worker_id: str) -> Mapping[str, list[Attempt]]:
        """Every attempt at each task that this worker ever began, in order."""
        mine = select(attempts.c.task_id).where(attempts.c.worker_id == worker_id)
        return self.read(lambda c: _attempts(c, attempts.c.task_id.in_(mine)))

    def list_artifacts(self, after: str, limit: int) -> list[tuple[str, tuple[Artifact, ...]]]:
        """Task ids after `after` that have a result, in their order, each with its artefacts."""
        statement = (
            select(results.c.task_id, results.c.artifacts)
            .where(results.c.task_id > after)
            .order_by(results.c.task_id)
            .limit(limit)
        )
        rows = self.read(lambda c: c.execute(statement).all())
        return [(row.task_id, _artifacts(row.artifacts)) for row in rows]

    def seize(self, wait: Callable[[], object]) -> None:
        """Keep every other writer out until `wait` returns. For drills alone."""

        def work(connection: Connection) -> None:
            if not self.is_sqlite:  # there the transaction itself holds the one write lock
                names = ", ".join(table.name for table in metadata.sorted_tables)
                connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
            wait()

        self.write(work)


def _entries(
    connection: Connection, where: Sequence[ColumnElement[bool]], limit: int
) -> list[Entry]:
    found = connection.execute(
        select(*(tasks.c[name] for name in _ENTRY))
        .where(*where)
        .order_by(tasks.c.index)
        .limit(limit)
    ).all()
    ids = [row.id for row in found]
    begun = _attempts(connection, attempts.c.task_id.in_(ids))
    recorded = {
        row.task_id: Recorded(
            row.attempt, row.worker_id, row.recorded_at, _artifacts(row.artifacts)
        )
        for row in connection.execute(
            select(*(results.c[name] for name in _RESULT)).where(results.c.task_id.in_(ids))
        )
    }
    return [
        Entry(
            **{**row._mapping, "state": State(row.state)},
            attempts=tuple(begun.get(row.id, ())),
            result=recorded.get(row.id),
        )
        for row in found
    ]


def _attempts(connection: Connection, where: ColumnElement[bool]) -> dict[str, list[Attempt]]:
    columns = ("task_id", "attempt", "worker_id", "started_at", "ended_at", "outcome")
    found: dict[str, list[Attempt]] = {}
    ordered = (attempts.c.task_id, attempts.c.attempt)
    statement = select(*(attempts.c[name] for name in columns)).where(where).order_by(*ordered)
    for task_id, *rest in connection.execute(statement):
        found.setdefault(task_id, []).append(Attempt(*rest))
    return found


def _artifacts(rows: Sequence[Mapping[str, Any]] | None) -> tuple[Artifact, ...]:
    return tuple(Artifact(**row) for row in rows or ())


_ENTRY = (
    "id",
    "job_id",
    "index",
    "state",
    "attempt",
    "losses",
    "crashes",
    "retries",
    "finished_at",
    "reason_code",
)
_RESULT = ("task_id", "attempt", "worker_id", "recorded_at", "artifacts")
