"""What a keeper writes: it moves tasks on, and takes back what the dead held.

Every statement checks state again in the same UPDATE, so that two keepers at
once, or a keeper and a worker, cannot undo each other.
"""

from collections.abc import Collection

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from genfarm_shared.schema import jobs, meta, tasks, workers
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import Database
from genfarm_shared.tasks import ALONE, Hint, State

#: Jobs that one round of dispatch serves; the rest wait for the next round.
JOBS_PER_ROUND = 64


class Mending(Database):
    """The keeper's verbs."""

    def dispatch(self, window: int) -> list[Hint]:
        """Make pending tasks queued while fewer than `window` are; the caller publishes them.

        The most urgent first; jobs of one priority take turns.
        """

        def work(connection: Connection) -> list[Hint]:
            now = self.clock(connection)
            queued = select(func.count()).where(tasks.c.state == State.QUEUED)
            room = window - connection.execute(queued).scalar_one()
            # Looked for last: it is a statement per job, under SQLite's one write lock.
            ready = self._ready_jobs(connection) if room > 0 else []
            hints: list[Hint] = []
            while ready and room > 0:
                priority = ready[0][0]
                level = [job_id for level, job_id in ready if level == priority]
                ready = ready[len(level) :]
                for turn, job_id in enumerate(level):
                    share = -(-room // (len(level) - turn))
                    taken = self._take(connection, job_id, priority, share, now)
                    hints += taken
                    room -= len(taken)
            return hints

        return self.write(work) if self._has_pending() else []

    def requeue(self, task_ids: Collection[str]) -> int:
        """Make queued tasks pending again, because their messages are gone; returns how many."""

        def work(connection: Connection) -> int:
            where = (tasks.c.id.in_(sorted(task_ids)), tasks.c.state == State.QUEUED)
            done = connection.execute(
                update(tasks).where(*where).values(state=State.PENDING, queued_at=None)
            )
            return done.rowcount

        return self.write(work) if task_ids else 0

    def queued_before(self, seconds: float) -> list[str]:
        """Ids of the tasks that have been queued for longer than that."""

        def work(connection: Connection) -> list[str]:
            limit = self.clock(connection) - seconds
            where = (tasks.c.state == State.QUEUED, tasks.c.queued_at < limit)
            return list(connection.execute(select(tasks.c.id).where(*where)).scalars())

        return self.read(work)

    def reap(self, lease_seconds: float, *, max_attempts: int) -> list[str]:
        """Judge workers that have not beaten for a lease, and free the tasks they held.

        Returns the ids of the workers judged by this call.
        """

        def work(connection: Connection) -> list[str]:
            now = self.clock(connection)
            late = and_(
                workers.c.state.in_(("alive", "draining")), workers.c.beat_at < now - lease_seconds
            )
            dead = connection.execute(
                update(workers)
                .where(late)
                .values(state="dead", ended_at=now, reason=f"no beat for {lease_seconds:g} s")
                .returning(workers.c.id)
            ).scalars()
            dead_ids = list(dead)
            for worker_id in dead_ids:
                self._free(connection, worker_id, now, max_attempts)
            return dead_ids

        return self.write(work) if self._has_late_worker(lease_seconds) else []

    def expire(self) -> int:
        """End tasks whose job's deadline has passed and that no worker has begun."""

        def find(connection: Connection) -> list[str]:
            late = select(jobs.c.id).where(
                jobs.c.deadline < self.clock(connection),
                jobs.c.id.in_(
                    select(tasks.c.job_id).where(
                        tasks.c.job_id == jobs.c.id,
                        tasks.c.state.in_((State.PENDING, State.QUEUED)),
                    )
                ),
            )
            return list(connection.execute(late).scalars())

        def work(connection: Connection) -> int:
            done = connection.execute(
                update(tasks)
                .where(
                    tasks.c.job_id.in_(late_jobs),
                    tasks.c.state.in_((State.PENDING, State.QUEUED)),
                )
                .values(
                    state=State.EXPIRED,
                    finished_at=self.clock(connection),
                    reason_code="expired",
                    reason="the job's deadline passed before a worker began the task",
                )
            )
            return done.rowcount

        late_jobs = self.read(find)
        return self.write(work) if late_jobs else 0

    def remember(self, key: str, value: str) -> None:
        """Keep one fact about the farm."""

        def work(connection: Connection) -> None:
            connection.execute(delete(meta).where(meta.c.key == key))
            connection.execute(insert(meta), [{"key": key, "value": value}])

        self.write(work)

    def recall(self, key: str) -> str | None:
        """The fact kept under that key."""
        statement = select(meta.c.value).where(meta.c.key == key)
        return self.read(lambda connection: connection.execute(statement).scalar_one_or_none())

    def _has_pending(self) -> bool:
        statement = select(tasks.c.id).where(tasks.c.state == State.PENDING).limit(1)
        return self.read(lambda c: c.execute(statement).first()) is not None

    def _has_late_worker(self, lease_seconds: float) -> bool:
        def work(connection: Connection) -> bool:
            limit = self.clock(connection) - lease_seconds
            states = workers.c.state.in_(("alive", "draining"))
            late = select(workers.c.id).where(states, workers.c.beat_at < limit).limit(1)
            return connection.execute(late).first() is not None

        return self.read(work)

    def _ready_jobs(self, connection: Connection) -> list[tuple[int, str]]:
        """(priority, job) pairs that have released pending tasks, most urgent first.

        One index probe a job, because a DISTINCT over a million pending rows takes
        longer than the keeper's round.
        """
        released = select(jobs.c.id).where(jobs.c.released).scalar_subquery()
        probe = (
            select(tasks.c.priority, tasks.c.job_id)
            .where(tasks.c.state == State.PENDING, tasks.c.job_id.in_(released))
            .order_by(tasks.c.priority.desc(), tasks.c.job_id.desc())
            .limit(1)
        )
        found: list[tuple[int, str]] = []
        after = None
        while len(found) < JOBS_PER_ROUND:
            row = connection.execute(probe if after is None else probe.where(after)).first()
            if row is None:
                break
            found.append((row.priority, row.job_id))
            same_level = and_(tasks.c.priority == row.priority, tasks.c.job_id < row.job_id)
            after = or_(tasks.c.priority < row.priority, same_level)
        return found

    def _take(
        self, connection: Connection, job_id: str, priority: int, share: int, now: float
    ) -> list[Hint]:
        chosen = (
            select(tasks.c.id)
            .where(
                tasks.c.state == State.PENDING,
                tasks.c.priority == priority,
                tasks.c.job_id == job_id,
                tasks.c.not_before <= now,
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
            )
        ).all()
        return [
            Hint(
                row.id,
                row.kind,
                row.model,
                f"{ALONE}{row.id}" if row.suspect else row.batch_key,
                row.rows,
                priority,
            )
            for row in sorted(rows, key=lambda row: row.place)
        ]

    def _free(self, connection: Connection, worker_id: str, now: float, max_attempts: int) -> None:
        held = (tasks.c.worker_id == worker_id, tasks.c.state == State.RUNNING)
        reason = f"its worker {worker_id} died"
        spent = connection.execute(
            update(tasks)
            .where(*held, tasks.c.attempt >= max_attempts)
            .values(
                state=State.FAILED,
                finished_at=now,
                reason_code="worker_lost",
                reason=f"{reason}, and this was attempt {max_attempts}",
            )
            .returning(tasks.c.id, tasks.c.attempt)
        ).all()
        freed = connection.execute(
            update(tasks)
            .where(*held)
            .values(state=State.PENDING, worker_id=None)
            .returning(tasks.c.id, tasks.c.attempt)
        ).all()
        lost = [(row.id, row.attempt) for row in (*spent, *freed)]
        close_attempts(connection, lost, "lost", now, reason)
