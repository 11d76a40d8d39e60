"""What dispatch writes: which pending tasks are handed on to Redis, and in what order."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select, update

from genfarm_shared.schema import jobs, tasks
from genfarm_shared.store.database import RETRY_LONGEST, Database
from genfarm_shared.tasks import ALONE, Hint, State

#: Jobs that one round of dispatch serves; the rest wait for the next round.
JOBS_PER_ROUND = 64


@dataclass(frozen=True, slots=True)
class _Ready:
    """A job that has pending tasks of one priority."""

    priority: int
    job_id: str
    model: str


class Dispatching(Database):
    """The one verb that queues tasks."""

    def dispatch(self, window: int) -> list[Hint]:
        """Make pending tasks queued while fewer than `window` of their model are.

        The caller publishes them. The most urgent first; jobs of one priority
        take turns. A window a model, so that one whose workers are gone does
        not keep the others from theirs.
        """

        def work(connection: Connection) -> list[Hint]:
            now = self.clock(connection)
            room = self._room(connection, window)
            hints: list[Hint] = []
            # Looked for last: it is a statement a job, under SQLite's one write lock.
            ready = self._ready(connection, [model for model, left in room.items() if left <= 0])
            rivals = Counter((job.priority, job.model) for job in ready)
            for job in ready:
                share = -(-room.get(job.model, window) // rivals[job.priority, job.model])
                rivals[job.priority, job.model] -= 1
                taken = self._take(connection, job, share, now) if share > 0 else []
                room[job.model] = room.get(job.model, window) - len(taken)
                hints += taken
            return hints

        return self.write(work) if self._has_pending() else []

    def _has_pending(self) -> bool:
        statement = select(tasks.c.id).where(tasks.c.state == State.PENDING).limit(1)
        return self.read(lambda c: c.execute(statement).first()) is not None

    def _room(self, connection: Connection, window: int) -> dict[str, int]:
        """How many more tasks of each model may be queued; a model with none queued is left out."""
        queued = (
            select(tasks.c.model, func.count())
            .where(tasks.c.state == State.QUEUED)
            .group_by(tasks.c.model)
        )
        return {model: window - number for model, number in connection.execute(queued)}

    def _ready(self, connection: Connection, full: Collection[str]) -> list[_Ready]:
        """Jobs that have released pending tasks, most urgent first.

        One index probe a job, because a DISTINCT over a million pending rows takes
        longer than the keeper's round.
        """
        released = select(jobs.c.id).where(jobs.c.released, jobs.c.model.not_in(full))
        probe = (
            select(tasks.c.priority, tasks.c.job_id, tasks.c.model)
            .where(tasks.c.state == State.PENDING, tasks.c.job_id.in_(released.scalar_subquery()))
            .order_by(tasks.c.priority.desc(), tasks.c.job_id.desc())
            .limit(1)
        )
        found: list[_Ready] = []
        after = None
        while len(found) < JOBS_PER_ROUND:
            row = connection.execute(probe if after is None else probe.where(after)).first()
            if row is None:
                break
            found.append(_Ready(row.priority, row.job_id, row.model))
            same_level = and_(tasks.c.priority == row.priority, tasks.c.job_id < row.job_id)
            after = or_(tasks.c.priority < row.priority, same_level)
        return found

    def _take(self, connection: Connection, job: _Ready, share: int, now: float) -> list[Hint]:
        chosen = (
            select(tasks.c.id)
            .where(
                tasks.c.state == State.PENDING,
                tasks.c.priority == job.priority,
                tasks.c.job_id == job.job_id,
                # Further ahead than any pause means from before the clock was set back.
                or_(tasks.c.not_before <= now, tasks.c.not_before > now + RETRY_LONGEST),
            )
            .order_by(tasks.c.index)
            .limit(share)
            .with_for_update(skip_locked=True)
            # PostgreSQL may run a plain subquery once a row, and then the limit means nothing.
            .cte("chosen")
            .prefix_with("MATERIALIZED")
        )
        rows = connection.execute(
            update(tasks)
            .where(tasks.c.id.in_(select(chosen.c.id)), tasks.c.state == State.PENDING)
            .values(state=State.QUEUED, queued_at=now)
            .returning(
                tasks.c.index.label("place"),
                tasks.c.id,
                tasks.c.kind,
                tasks.c.model,
                tasks.c.batch_key,
                tasks.c.rows,
                tasks.c.suspect,
                tasks.c.attempt,
            )
        ).all()
        return [
            Hint(
                row.id,
                row.kind,
                row.model,
                f"{ALONE}{row.suspect}" if row.suspect else row.batch_key,
                row.rows,
                job.priority,
                is_redo=row.attempt > 0,
            )
            for row in sorted(rows, key=lambda row: row.place)
        ]
