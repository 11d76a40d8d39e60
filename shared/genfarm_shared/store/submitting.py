"""What a producer writes: a job, its seal, and a person's later word about its tasks."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from genfarm_shared.chains import NEVER_RUN, chain_of, is_fed, is_stage
from genfarm_shared.schema import attempts, chains, jobs, results, tasks
from genfarm_shared.store.among import among
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.concluding import forget_later, hold_chains, reopen
from genfarm_shared.store.database import SLICE, Database
from genfarm_shared.store.inserting import withdrawn
from genfarm_shared.store.opening import write_head
from genfarm_shared.store.slices import hold_slice
from genfarm_shared.tasks import JobRecord, State


class Submitting(Database):
    """The producer's verbs besides `insert`."""

    def open_job(self, job: JobRecord) -> tuple[JobRecord, bool]:
        """Write the job down, or find the one of the same identity.

        Returns the job that is in the store, and whether this call wrote it. Raises JobConflict
        for an id whose job was withdrawn half-written.
        """

        def work(connection: Connection) -> tuple[JobRecord, bool]:
            found = JobRecord(**write_head(connection, jobs, _job_row(job))._mapping)
            # The id alone does not tell: that of a chain's stage is known before it is written.
            return found, (found.id, found.created_at) == (job.id, job.created_at)

        return self.write(work)

    def seal(self, job_id: str, total: int) -> None:
        """Say that the last input is written; the job's tasks may now be dispatched.

        Raises JobConflict when the job has been withdrawn, or is being so:
        whoever began it may discard it while another completes it.
        """
        written = select(func.count()).where(tasks.c.job_id == job_id)
        statement = update(jobs).where(jobs.c.id == job_id).values(total=total, released=True)

        def work(connection: Connection) -> None:
            is_there = _hold_job(connection, jobs.c.id == job_id)
            if not is_there or connection.execute(written).scalar_one() < total:
                raise withdrawn(job_id)
            connection.execute(statement)

        self.write(work)

    def disown(self, job_id: str) -> None:
        """Take a job's identity away, so that another may bear it; its tasks go on."""
        statement = update(jobs).where(jobs.c.id == job_id).values(identity=None)
        self.write(lambda connection: connection.execute(statement))

    def discard(self, job_id: str) -> None:
        """Remove a job whose submission failed before any of it was released, in slices."""
        draft = (jobs.c.id == job_id, jobs.c.released.is_(False))
        some = _slice(tasks.c.job_id == job_id)

        def step(connection: Connection) -> int:
            if not _hold_job(connection, *draft):
                return 0
            chosen = {"ids": connection.execute(some).scalars().all()}
            connection.execute(delete(tasks).where(among(tasks.c.id, "ids")), chosen)
            return len(chosen["ids"])

        self.write_in_slices(step)
        self.write(lambda connection: connection.execute(delete(jobs).where(*draft)))

    def cancel(
        self,
        job_id: str,
        task_ids: Collection[str] | None = None,
        *,
        of_chain: str | None = None,
    ) -> int:
        """Withdraw what has not ended, running tasks too; returns how many.

        In slices, each whole or not at all. A result that a worker brings
        later is refused by the state. A job that was never fully written is
        closed with what it has, and its name is free for another. With
        `of_chain` only while that chain is withdrawn, and not what was run
        again since.
        """
        open_states = (State.PENDING, State.QUEUED, State.RUNNING)
        where = [tasks.c.job_id == job_id, tasks.c.state.in_(open_states)]
        if task_ids is not None:
            where.append(among(tasks.c.id, "wanted"))
        if of_chain is not None:
            where.append(exists().where(chains.c.id == of_chain, chains.c.cancelled))
            where.append(tasks.c.retries == 0)
        asked = {} if task_ids is None else {"wanted": sorted(task_ids)}

        def step(connection: Connection) -> int:
            now = self.clock(connection)
            ids = hold_slice(connection, where, asked)
            marking = update(tasks).where(among(tasks.c.id, "ids")).values(_CANCELLED)
            marking = marking.values(finished_at=now).returning(tasks.c.id, tasks.c.attempt)
            ended = connection.execute(marking, {"ids": ids}).all()
            close_attempts(connection, [(row.id, row.attempt) for row in ended], "cancelled", now)
            return len(ended)

        number = self.write_in_slices(step)
        if task_ids is None and of_chain is None and not is_fed(job_id):
            self.write(lambda connection: _close_unsealed(connection, job_id))
        return number

    def retry(
        self, job_id: str, states: Collection[State], custom_ids: Collection[str] | None = None
    ) -> int:
        """Make ended tasks pending again, as new attempts, in slices; returns how many.

        What fails again meanwhile is left. Only states that left no result can be retried; the
        audit keeps the old attempts. A deadline that has passed is lifted, or what expired would
        expire again. Of a chain's stage, what was cut off from those tasks waits for them anew;
        a withdrawn chain stays so unless cancelled tasks are run again.
        """

        where = [
            tasks.c.job_id == job_id,
            tasks.c.state.in_([s for s in states if s is not State.SUCCEEDED]),
            func.coalesce(tasks.c.reason_code, "").not_in(NEVER_RUN),
        ]
        if custom_ids is not None:
            named = (among(tasks.c.custom_id, "wanted"), among(tasks.c.id, "wanted"))
            where.append(or_(*named))
        # Not the clock's time: what ended before the clock was set back has ended all the same.
        ended = tasks.c.finished_at
        latest = select(func.max(ended)).where(tasks.c.job_id == job_id, ended.is_not(None))
        ended_by = self.read(lambda c: c.execute(latest).scalar_one())
        if ended_by is None:
            return 0
        where.append(ended <= ended_by)
        asked = {} if custom_ids is None else {"wanted": sorted(custom_ids)}
        some = update(tasks).where(among(tasks.c.id, "ids")).values(_RETRIED)

        def step(connection: Connection) -> int:
            if is_stage(job_id):
                hold_chains(connection, [chain_of(job_id)])
            ids = hold_slice(connection, where, asked)
            if ids and is_stage(job_id):
                forget_later(connection, ids)
                reopen(connection, chain_of(job_id), is_wanted=State.CANCELLED in states)
            return connection.execute(some, {"ids": ids}).rowcount

        def lift(connection: Connection) -> None:
            late = (jobs.c.id == job_id, jobs.c.deadline < self.clock(connection))
            connection.execute(update(jobs).where(*late).values(deadline=None))

        self.write(lift)  # first, or a keeper expires again what is retried
        return self.write_in_slices(step)

    def remove(self, job_id: str) -> None:
        """Delete an ended job with its tasks, results and audit. Artefacts stay.

        The job's own row goes last, so that a removal that broke off can be
        repeated.
        """
        some = _slice(tasks.c.job_id == job_id)

        def step(connection: Connection) -> int:
            chosen = {"ids": connection.execute(some).scalars().all()}
            for table in (results, attempts):
                connection.execute(delete(table).where(among(table.c.task_id, "ids")), chosen)
            connection.execute(delete(tasks).where(among(tasks.c.id, "ids")), chosen)
            return len(chosen["ids"])

        self.write_in_slices(step)
        whole = delete(jobs).where(jobs.c.id == job_id)
        self.write(lambda connection: connection.execute(whole))


#: How a withdrawn task ends.
_CANCELLED: dict[str, Any] = {
    "state": State.CANCELLED,
    "reason_code": "cancelled",
    "reason": "cancelled before a result was recorded",
}
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


def _hold_job(connection: Connection, *where: ColumnElement[bool]) -> bool:
    """Whether there is that job, which is then locked until the transaction ends."""
    # Not against those who insert tasks, whose foreign keys hold the job's key.
    held = select(jobs.c.id).where(*where).with_for_update(key_share=True)
    return connection.execute(held).first() is not None


def _close_unsealed(connection: Connection, job_id: str) -> None:
    """Close a half-written job with what it has; its name, or its chain's, is free."""
    written = select(func.count()).where(tasks.c.job_id == job_id).scalar_subquery()
    unsealed = (jobs.c.id == job_id, jobs.c.total.is_(None))
    closing = update(jobs).where(*unsealed)
    closed = connection.execute(closing.values(total=written, released=True, identity=None))
    if closed.rowcount and is_stage(job_id):
        mine = chains.c.id == chain_of(job_id)
        connection.execute(update(chains).where(mine).values(identity=None))


def _slice(*where: ColumnElement[bool]) -> Select[Any]:
    """Ids of some of those tasks, as many as one transaction should change."""
    return select(tasks.c.id).where(*where).limit(SLICE)


def _job_row(job: JobRecord) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in jobs.columns}
