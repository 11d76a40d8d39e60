"""What a keeper writes to take back what the dead held and the late missed.

Every statement checks state again in the same UPDATE, so that two keepers at
once, or a keeper and a worker, cannot undo each other.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Update, or_, select, update

from genfarm_shared.schema import jobs, tasks, workers
from genfarm_shared.store.among import among, unindexed
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import SLICE, Database
from genfarm_shared.tasks import State


class Mending(Database):
    """The keeper's verbs."""

    def requeue(self, task_ids: Collection[str]) -> int:
        """Make queued tasks pending again, because their messages are gone; returns how many."""

        waiting = sorted(task_ids)
        statement = (
            update(tasks)
            .where(among(tasks.c.id, "ids"), unindexed(tasks.c.state) == State.QUEUED)
            .values(state=State.PENDING, queued_at=None)
        )
        done = 0
        for start in range(0, len(waiting), SLICE):
            part = {"ids": waiting[start : start + SLICE]}
            done += self.write(partial(_count, statement, part))
        return done

    def queued_before(self, seconds: float) -> list[str]:
        """Ids of the tasks that have been queued for longer than that."""

        def work(connection: Connection) -> list[str]:
            now = self.clock(connection)
            # From the future means from before the clock was set back.
            old = or_(tasks.c.queued_at < now - seconds, tasks.c.queued_at > now + seconds)
            where = (tasks.c.state == State.QUEUED, old)
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

        def judge(connection: Connection) -> list[str]:
            now = self.clock(connection)
            return [i for i, beat in silent.items() if _judge(connection, i, beat, now, reason)]

        def free(connection: Connection) -> int:
            orphaned = connection.execute(_ORPHANED.limit(1)).scalar_one_or_none()
            if orphaned is None:
                return 0
            return self._free(connection, orphaned, self.clock(connection), max_attempts)

        dead = self.write(judge) if silent else []
        if self._has_orphans():
            self.write_in_slices(free)
        return dead

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

        def step(connection: Connection) -> int:
            late = select(tasks.c.id).where(
                tasks.c.job_id.in_(late_jobs),
                tasks.c.state.in_((State.PENDING, State.QUEUED)),
            )
            done = connection.execute(
                update(tasks)
                .where(tasks.c.id.in_(late.limit(SLICE)))
                .values(
                    state=State.EXPIRED,
                    finished_at=self.clock(connection),
                    reason_code="expired",
                    reason="the job's deadline passed before a worker began the task",
                )
            )
            return done.rowcount

        late_jobs = self.read(find)
        return self.write_in_slices(step) if late_jobs else 0

    def _has_orphans(self) -> bool:
        return self.read(lambda c: c.execute(_ORPHANED.limit(1)).first()) is not None

    def _free(self, connection: Connection, worker_id: str, now: float, max_attempts: int) -> int:
        """Free a slice of what that worker holds; returns how many."""
        running = (tasks.c.worker_id == worker_id, tasks.c.state == State.RUNNING)
        some = connection.execute(select(tasks.c.id).where(*running).limit(SLICE)).scalars().all()
        held = (among(tasks.c.id, "ids"), *running)
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
            .returning(tasks.c.id, tasks.c.attempt),
            {"ids": some},
        ).all()
        freed = connection.execute(
            update(tasks)
            .where(*held)
            .values(state=State.PENDING, worker_id=None, losses=tasks.c.losses + 1)
            .returning(tasks.c.id, tasks.c.attempt),
            {"ids": some},
        ).all()
        lost = [(row.id, row.attempt) for row in (*spent, *freed)]
        close_attempts(connection, lost, "lost", now, reason)
        return len(lost)


def _count(statement: Update, values: Mapping[str, Any], connection: Connection) -> int:
    """How many rows the statement changes."""
    return connection.execute(statement, values).rowcount


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
