"""What dispatch writes: which pending tasks are handed on to Redis, and in what order."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import (
    CTE,
    Connection,
    Integer,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from genfarm_shared.schema import jobs, tasks
from genfarm_shared.store.database import RETRY_LONGEST, Database
from genfarm_shared.tasks import ALONE, Hint, State

#: Jobs that one round of dispatch serves; the rest wait for the next round.
JOBS_PER_ROUND = 64
#: The priorities that there are.
LEVELS = 10
#: Tasks that one round queues: some 40 ms under SQLite's one write lock.
ROUND = 2000


_ANY_PENDING = select(tasks.c.id).where(tasks.c.state == State.PENDING).limit(1)


def _heads() -> CTE:
    """Each priority and job that has a pending task, by one probe of the index for each.

    A DISTINCT, or a search that passes over the rows of jobs that must wait, reads a million
    pending rows under SQLite's one write lock. The last of a level has no job.
    """
    each = [select(literal_column(str(n), Integer).label("priority")) for n in range(LEVELS)]
    levels = union_all(*each).subquery("levels")
    last = select(func.max(tasks.c.job_id)).where(tasks.c.state == State.PENDING)
    top = last.where(tasks.c.priority == levels.c.priority).scalar_subquery()
    heads = select(levels.c.priority, top.label("job_id")).cte("heads", recursive=True)
    same = (tasks.c.priority == heads.c.priority, tasks.c.job_id < heads.c.job_id)
    below = select(heads.c.priority, last.where(*same).scalar_subquery())
    return heads.union_all(below.where(heads.c.job_id.is_not(None)))


_HEADS = _heads()


@dataclass(frozen=True, slots=True)
class _Ready:
    """A job that has pending tasks of one priority."""

    priority: int
    job_id: str
    model: str


def vacancy(connection: Connection, model: str, window: int) -> int:
    """How many tasks of that model may go to Redis at once; none while anything is pending,
    because which of those is next is for dispatch to say."""
    if connection.execute(_ANY_PENDING).first() is not None:
        return 0
    queued = select(func.count()).where(tasks.c.state == State.QUEUED, tasks.c.model == model)
    return max(window - int(connection.execute(queued).scalar_one()), 0)


class Dispatching(Database):
    """The one verb that queues tasks."""

    def dispatch(self, window: int) -> list[Hint]:
        """Make pending tasks queued while fewer than `window` of their model are, ROUND at most.

        The caller publishes them, and may ask again where it got ROUND. The
        most urgent first; jobs of one priority take turns. A window a model, so
        that one whose workers are gone does not keep the others from theirs.
        """

        def work(connection: Connection) -> list[Hint]:
            now = self.clock(connection)
            room = self._room(connection, window)
            hints: list[Hint] = []
            # Looked for last: it is a statement a job, under SQLite's one write lock.
            ready = self._ready(connection, [model for model, left in room.items() if left <= 0])
            rivals = Counter((job.priority, job.model) for job in ready)
            for job in ready:
                left = min(room.get(job.model, window), ROUND - len(hints))
                share = -(-left // rivals[job.priority, job.model])
                rivals[job.priority, job.model] -= 1
                taken = self._take(connection, job, share, now) if share > 0 else []
                room[job.model] = room.get(job.model, window) - len(taken)
                hints += taken
            return hints

        return self.write(work) if self._has_pending() else []

    def _has_pending(self) -> bool:
        return self.read(lambda c: c.execute(_ANY_PENDING).first()) is not None

    def _room(self, connection: Connection, window: int) -> dict[str, int]:
        """How many more tasks of each model may be queued; a model with none queued is left out."""
        queued = (
            select(tasks.c.model, func.count())
            .where(tasks.c.state == State.QUEUED)
            .group_by(tasks.c.model)
        )
        return {model: window - number for model, number in connection.execute(queued)}

    def _ready(self, connection: Connection, full: Collection[str]) -> list[_Ready]:
        """Jobs that have released pending tasks, most urgent first."""
        open_to_us = (jobs.c.released, jobs.c.model.not_in(full))
        found = (
            select(_HEADS.c.priority, _HEADS.c.job_id, jobs.c.model)
            .join(jobs, jobs.c.id == _HEADS.c.job_id)
            .where(*open_to_us)
            .order_by(_HEADS.c.priority.desc(), _HEADS.c.job_id.desc())
            .limit(JOBS_PER_ROUND)
        )
        return [_Ready(*row) for row in connection.execute(found)]

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
