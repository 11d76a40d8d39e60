"""What a keeper writes to take back what the dead held and the late missed.

Every UPDATE checks the state of the rows it changes, or changes rows that its
transaction has locked by their state, so that two keepers at once, or a keeper
and a worker, cannot undo each other.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Update, exists, or_, select, update

from genfarm_shared.schema import jobs, tasks, workers
from genfarm_shared.store.among import among, unindexed
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import SLICE, Database
from genfarm_shared.store.slices import hold_slice
from genfarm_shared.tasks import State

#: Jobs that one call of `expire` looks at: a keeper has other duties too. Not measured.
EXPIRED_JOBS = 100


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
        """End tasks whose job's deadline has passed and that no worker has begun.

        Of EXPIRED_JOBS jobs at most; those that are left are for the next call.
        """
        asked = {"late": self.read(lambda c: _late_jobs(c, self.clock(c)))}
        where = (among(tasks.c.job_id, "late"), tasks.c.state.in_(_WAITING))
        some = update(tasks).where(among(tasks.c.id, "ids")).values(_EXPIRED)

        def step(connection: Connection) -> int:
            held = {"ids": hold_slice(connection, where, asked)}
            ending = some.values(finished_at=self.clock(connection))
            return connection.execute(ending, held).rowcount

        return self.write_in_slices(step) if asked["late"] else 0

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
                reason=f"{reason}; a task may lose {max_attempts} attempts at most",
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


_WAITING = (State.PENDING, State.QUEUED)
#: How a task ends that came too late.
_EXPIRED: dict[str, Any] = {
    "state": State.EXPIRED,
    "reason_code": "expired",
    "reason": "the job's deadline passed before a worker began the task",
}


def _late_jobs(connection: Connection, now: float) -> Sequence[str]:
    """Some jobs whose deadline has passed while tasks of theirs wait, the longest late first."""
    waits = exists().where(tasks.c.job_id == jobs.c.id, tasks.c.state.in_(_WAITING))
    late = select(jobs.c.id).where(jobs.c.deadline < now, waits)
    some = late.order_by(jobs.c.deadline).limit(EXPIRED_JOBS)
    return connection.execute(some).scalars().all()


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
