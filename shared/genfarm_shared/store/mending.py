"""What a keeper writes to take back what the dead held and the late missed.

Every statement checks state again in the same UPDATE, so that two keepers at
once, or a keeper and a worker, cannot undo each other.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select, update

from genfarm_shared.schema import jobs, tasks, workers
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import Database
from genfarm_shared.tasks import State


class Mending(Database):
    """The keeper's verbs."""

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

    def reap(
        self,
        silent: Mapping[str, float],
        *,
        max_attempts: int,
        reason: str = "no beat for a whole lease",
    ) -> list[str]:
        """Judge silent workers, and free every task whose worker lives no more.

        `silent` gives the last beat that the caller knows of each; one that has
        beaten since goes free. Tasks are freed by their worker's state, not by
        this call's verdicts alone: a worker may have ended between a claim and
        its commit. Returns the ids judged now.
        """

        def work(connection: Connection) -> list[str]:
            now = self.clock(connection)
            dead = [i for i, beat in silent.items() if _judge(connection, i, beat, now, reason)]
            orphaned = connection.execute(_ORPHANED.distinct()).scalars().all()
            for worker_id in orphaned:
                self._free(connection, worker_id, now, max_attempts)
            return dead

        return self.write(work) if silent or self._has_orphans() else []

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

    def _has_orphans(self) -> bool:
        return self.read(lambda c: c.execute(_ORPHANED.limit(1)).first()) is not None

    def _free(self, connection: Connection, worker_id: str, now: float, max_attempts: int) -> None:
        held = (tasks.c.worker_id == worker_id, tasks.c.state == State.RUNNING)
        reason = f"its worker {worker_id} died"
        spent = connection.execute(
            update(tasks)
            .where(*held, tasks.c.losses + 1 >= max_attempts)
            .values(
                state=State.FAILED,
                losses=tasks.c.losses + 1,
                finished_at=now,
                reason_code="worker_lost",
                reason=f"{reason}, and it is the {max_attempts}th that did",
            )
            .returning(tasks.c.id, tasks.c.attempt)
        ).all()
        freed = connection.execute(
            update(tasks)
            .where(*held)
            .values(state=State.PENDING, worker_id=None, losses=tasks.c.losses + 1)
            .returning(tasks.c.id, tasks.c.attempt)
        ).all()
        lost = [(row.id, row.attempt) for row in (*spent, *freed)]
        close_attempts(connection, lost, "lost", now, reason)


#: The workers of running tasks that are neither alive nor draining.
_ORPHANED = select(tasks.c.worker_id).where(
    tasks.c.state == State.RUNNING,
    tasks.c.worker_id.not_in(
        select(workers.c.id).where(workers.c.state.in_(("alive", "draining")))
    ),
)


def _judge(connection: Connection, worker_id: str, beat_at: float, now: float, reason: str) -> bool:
    done = connection.execute(
        update(workers)
        .where(
            workers.c.id == worker_id,
            workers.c.beat_at == beat_at,
            workers.c.state.in_(("alive", "draining")),
        )
        .values(state="dead", ended_at=now, reason=reason)
    )
    return done.rowcount == 1
