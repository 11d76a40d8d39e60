"""What anybody reads of a farm: jobs, tasks, results, workers. Writes nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from genfarm_shared.errors import NotFound
from genfarm_shared.schema import attempts, jobs, results, tasks, workers
from genfarm_shared.store.database import Database
from genfarm_shared.tasks import TERMINAL, Artifact, JobRecord, State, TaskRecord, WorkerRecord

#: Seconds by which a reader looks back, because transactions may become visible out of the
#: order of their times.
OVERLAP = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the tasks of a job end."""

    #: Tasks that ended in the time looked back on.
    recent: int
    #: When the latest of all ended, UTC seconds; None before the first.
    last_at: float | None


class Reading(Database):
    """The reader's verbs."""

    def find_job(self, id_or_name: str) -> JobRecord:
        """The job of that id, or the newest of that name. Raises NotFound."""

        def work(connection: Connection) -> JobRecord | None:
            by_id = select(jobs).where(jobs.c.id == id_or_name)
            newest = jobs.c.created_at.desc()
            by_name = select(jobs).where(jobs.c.name == id_or_name).order_by(newest).limit(1)
            row = connection.execute(by_id).first() or connection.execute(by_name).first()
            return JobRecord(**row._mapping) if row is not None else None

        found = self.read(work)
        if found is None:
            raise NotFound(
                f"no job has the id or name {id_or_name!r}; `genfarm jobs ls` lists them"
            )
        return found

    def list_jobs(self, limit: int = 20) -> list[JobRecord]:
        """The newest jobs first."""
        statement = select(jobs).order_by(jobs.c.created_at.desc()).limit(limit)
        return self.read(lambda c: [JobRecord(**r._mapping) for r in c.execute(statement)])

    def count(self, job_ids: Collection[str]) -> dict[str, dict[State, int]]:
        """How many tasks of each job are in each state; states with none are left out."""
        statement = (
            select(tasks.c.job_id, tasks.c.state, func.count())
            .where(tasks.c.job_id.in_(job_ids))
            .group_by(tasks.c.job_id, tasks.c.state)
        )
        counts: dict[str, dict[State, int]] = {job_id: {} for job_id in job_ids}
        for job_id, state, number in self.read(lambda c: c.execute(statement).all()):
            counts[job_id][State(state)] = number
        return counts

    def read_after(
        self, job_id: str, index: int, limit: int, *, states: Collection[State] | None = None
    ) -> list[TaskRecord]:
        """Tasks of a job in the order asked for, from the one after `index`, ended or not.

        With `states`, only the tasks that are in one of them.
        """
        where = [tasks.c.job_id == job_id, tasks.c.index > index]
        if states is not None:
            where.append(tasks.c.state.in_(sorted(states)))
        return self._records(_records().where(*where).order_by(tasks.c.index).limit(limit))

    def read_ended(
        self, job_id: str, since: float, limit: int, *, last_id: str | None = None
    ) -> list[TaskRecord]:
        """Tasks of a job that ended after `since` less OVERLAP, in the order they ended.

        With `last_id`, exactly those after the task of that id, which ended at
        `since`. A reader that follows a job goes on from the last record it
        got, looks back by OVERLAP now and then, and drops what it has seen.
        """
        finished = tasks.c.finished_at
        if last_id is None:
            where = finished > since - OVERLAP
        else:
            tied = and_(finished == since, tasks.c.id > last_id)
            where = and_(finished >= since, or_(finished > since, tied))
        statement = (
            _records()
            .where(tasks.c.job_id == job_id, where)
            .order_by(finished, tasks.c.id)
            .limit(limit)
        )
        return self._records(statement)

    def read_tasks(self, task_ids: Collection[str], *, ended: bool = False) -> list[TaskRecord]:
        """Those tasks, in no order; with `ended`, only the ones that have ended."""
        statement = _records().where(tasks.c.id.in_(task_ids))
        if ended:
            statement = statement.where(tasks.c.finished_at.is_not(None))
        return self._records(statement)

    def find_task(self, job_id: str, custom_id: str) -> TaskRecord:
        """The task of a job that the user calls so. Raises NotFound."""
        where = (tasks.c.job_id == job_id, tasks.c.custom_id == custom_id)
        found = self._records(_records().where(*where))
        if not found:
            raise NotFound(
                f"job {job_id} has no task with the custom_id {custom_id!r}; "
                "`job.items()` lists them, and job[0] is the first"
            )
        return found[0]

    def pace(self, job_id: str, seconds: float) -> Pace:
        """How fast a job's tasks end, looking back by that much."""

        def work(connection: Connection) -> Pace:
            mine = tasks.c.job_id == job_id
            ended = tasks.c.finished_at
            recent = ended > self.clock(connection) - seconds
            number = connection.execute(select(func.count()).where(mine, recent)).scalar_one()
            # Said, though a maximum never is null: only so does the index of ended tasks serve.
            last = connection.execute(select(func.max(ended)).where(mine, ended.is_not(None)))
            return Pace(number, last.scalar_one())

        return self.read(work)

    def count_open(self) -> int:
        """How many tasks of the whole farm have not ended."""
        # A state each, because only then does the small index of that state alone serve.
        parts = [
            select(func.count()).where(tasks.c.state == state).scalar_subquery()
            for state in (State.PENDING, State.QUEUED, State.RUNNING)
        ]
        statement = select(parts[0] + parts[1] + parts[2])
        return self.read(lambda c: int(c.execute(statement).scalar_one()))

    def quiet_seconds(self, job_id: str) -> float:
        """How long ago the last of a job's inputs was written; 0 where there is none yet."""
        latest = select(tasks.c.created_at).where(tasks.c.job_id == job_id)
        latest = latest.order_by(tasks.c.index.desc()).limit(1)

        def work(connection: Connection) -> float:
            at = connection.execute(latest).scalar_one_or_none()
            return 0.0 if at is None else max(self.clock(connection) - at, 0.0)

        return self.read(work)

    def count_attempts(self, job_ids: Collection[str]) -> dict[str, int]:
        """How often attempts of those jobs' tasks ended in each way."""
        statement = (
            select(attempts.c.outcome, func.count())
            .join(tasks, tasks.c.id == attempts.c.task_id)
            .where(tasks.c.job_id.in_(job_ids))
            .group_by(attempts.c.outcome)
        )
        rows = self.read(lambda c: c.execute(statement).all())
        return {outcome or "open": number for outcome, number in rows}

    def count_results(self, job_ids: Collection[str]) -> int:
        """How many result rows those jobs have."""
        statement = (
            select(func.count())
            .select_from(results)
            .join(tasks, tasks.c.id == results.c.task_id)
            .where(tasks.c.job_id.in_(job_ids))
        )
        return self.read(lambda c: int(c.execute(statement).scalar_one()))

    def list_workers(self, *, everyone: bool = False) -> list[WorkerRecord]:
        """The workers that live, or all that ever did; the newest first."""
        statement = select(workers).order_by(workers.c.started_at.desc())
        if not everyone:
            statement = statement.where(workers.c.state.in_(("alive", "draining")))
        return self.read(lambda c: [WorkerRecord(**r._mapping) for r in c.execute(statement)])

    def count_states(self) -> dict[State, int]:
        """How many tasks of the whole farm are in each state; reads an index of all of them."""
        statement = select(tasks.c.state, func.count()).group_by(tasks.c.state)
        return {State(state): n for state, n in self.read(lambda c: c.execute(statement).all())}

    def backlog(self) -> dict[str, dict[State, int]]:
        """Tasks that have not ended, by model and state: what scaling should look at."""
        open_states = [state for state in State if state not in TERMINAL]
        statement = (
            select(tasks.c.model, tasks.c.state, func.count())
            .where(tasks.c.state.in_(open_states))
            .group_by(tasks.c.model, tasks.c.state)
        )
        found: dict[str, dict[State, int]] = {}
        for model, state, number in self.read(lambda c: c.execute(statement).all()):
            found.setdefault(model, {})[State(state)] = number
        return found

    def _records(self, statement: Select[Any]) -> list[TaskRecord]:
        return self.read(lambda c: [_record(dict(row._mapping)) for row in c.execute(statement)])


_TASK = (
    "id",
    "job_id",
    "index",
    "custom_id",
    "kind",
    "model",
    "params",
    "seed",
    "attempt",
    "created_at",
    "worker_id",
    "claimed_at",
    "finished_at",
    "reason_code",
    "reason",
)


def _records() -> Select[Any]:
    columns = [tasks.c[name] for name in (*_TASK, "state")]
    found = (results.c.output, results.c.artifacts, results.c.metrics)
    return select(*columns, *found).outerjoin(results, results.c.task_id == tasks.c.id)


def _record(row: Mapping[str, Any]) -> TaskRecord:
    artifacts: Sequence[Mapping[str, Any]] = row["artifacts"] or ()
    return TaskRecord(
        **{name: row[name] for name in _TASK},
        state=State(row["state"]),
        output=row["output"],
        artifacts=tuple(Artifact(**artifact) for artifact in artifacts),
        metrics=row["metrics"] or {},
    )
