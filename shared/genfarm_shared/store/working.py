"""What a worker writes of its tasks: what it claims, gives back, and how they ended."""

import itertools
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from genfarm_shared.schema import jobs, results, tasks, workers
from genfarm_shared.store.audit import close_attempts, open_attempts
from genfarm_shared.store.database import Database
from genfarm_shared.tasks import Claim, Outcome, State

#: First and longest pause before a failed attempt is tried again, seconds.
RETRY_FIRST, RETRY_LONGEST = 1.0, 60.0
#: Crashes that convict a task whose engine was killed by a signal from outside: one more than
#: the three that find a culprit in a batch.
KILLS_TO_CONVICT = 4


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of the outcomes handed to `commit`, by task id."""

    #: Recorded now, or by an earlier call whose answer was lost.
    recorded: frozenset[str]
    #: Failed, but will be tried again.
    retried: frozenset[str]
    #: Refused: the task was cancelled, or another worker has claimed it since.
    fenced: frozenset[str]

    @classmethod
    def union(cls, parts: Sequence["Committed"]) -> "Committed":
        """What became of several calls' outcomes together."""
        none = frozenset[str]()
        return cls(
            none.union(*(part.recorded for part in parts)),
            none.union(*(part.retried for part in parts)),
            none.union(*(part.fenced for part in parts)),
        )


class Working(Database):
    """The verbs of a worker at work."""

    def claim(self, task_ids: Sequence[str], worker_id: str) -> list[Claim]:
        """Take the right to run those tasks; ids not returned are ended, taken or unknown.

        A worker that is not alive gets none, and a task whose job's deadline has passed is
        given to nobody. When the answer to a commit was
        lost, the second try finds its own rows running and claims them anew.
        """
        alive = exists().where(workers.c.id == worker_id, workers.c.state == "alive")
        late = exists().where(jobs.c.id == tasks.c.job_id, jobs.c.deadline < bindparam("now"))
        free = and_(self._state().in_((State.QUEUED, State.PENDING)), ~late)
        own = and_(self._state() == State.RUNNING, tasks.c.worker_id == worker_id)
        tries = itertools.count()
        statement = (
            update(tasks)
            .where(tasks.c.id.in_(sorted(task_ids)), alive)
            .values(
                state=State.RUNNING,
                attempt=tasks.c.attempt + 1,
                worker_id=worker_id,
                claimed_at=bindparam("now"),
            )
            .returning(*(tasks.c[name] for name in _CLAIMED))
        )

        def work(connection: Connection) -> list[Claim]:
            now = self.clock(connection)
            again = next(tries) > 0
            mine = statement.where(or_(free, own) if again else free)
            claims = [Claim(*row) for row in connection.execute(mine, {"now": now})]
            if again:
                before = [(c.task_id, c.attempt - 1) for c in claims]
                close_attempts(connection, before, "released", now, "the answer was lost")
            open_attempts(connection, [(c.task_id, c.attempt) for c in claims], worker_id, now)
            return claims

        return self.write(work) if task_ids else []

    def commit(
        self, outcomes: Sequence[Outcome], worker_id: str, *, max_attempts: int
    ) -> Committed:
        """Record how attempts ended: one transaction, one result row a task at most."""
        by_id = {outcome.task_id: outcome for outcome in outcomes}

        def work(connection: Connection) -> Committed:
            now = self.clock(connection)
            losses, known = self._standing(connection, by_id)
            mine = [by_id[task_id] for task_id in losses]
            done = [outcome for outcome in mine if outcome.failure is None]
            again = [
                o
                for o in mine
                if o.failure and o.failure.retryable and losses[o.task_id] + 1 < max_attempts
            ]
            failed = [o for o in mine if o.failure is not None and o not in again]
            self._record_results(connection, done, worker_id, now)
            self._record_failures(connection, failed, now)
            self._put_off(connection, again, now)
            recorded = known | {o.task_id for o in (*done, *failed)}
            retried = frozenset(o.task_id for o in again)
            return Committed(recorded, retried, frozenset(by_id) - recorded - retried)

        return self.write(work) if outcomes else Committed(*[frozenset[str]()] * 3)

    def release(self, claims: Sequence[Claim], reason: str) -> None:
        """Give claimed tasks back unfinished; another worker goes on."""

        def work(connection: Connection) -> None:
            now = self.clock(connection)
            held = self._held(connection, claims)
            self._give_back(connection, [row.id for row in held], {})
            ended = [(row.id, row.attempt) for row in held]
            close_attempts(connection, ended, "released", now, reason)

        if claims:
            self.write(work)

    def accuse(self, claims: Sequence[Claim], reason: str, *, was_killed: bool) -> None:
        """Give back the tasks that an engine died with, as suspects.

        A batch of N goes on in groups of sqrt(N) that have the engine to
        themselves, a group in single tasks, and a task that ends the engine by
        itself is quarantined: three crashes find one culprit, and the others
        wait for sqrt(N) runs and not for N. Whoever killed the engine may not
        have been the task, so then the verdict takes a crash more.
        """

        def work(connection: Connection) -> None:
            now = self.clock(connection)
            held = self._held(connection, claims)
            if len(held) == 1 and held[0].suspect:
                spared = was_killed and held[0].crashes + 1 < KILLS_TO_CONVICT
                if not spared:
                    self._quarantine(connection, held[0], reason, now)
                    return
            for number, group in enumerate(_groups(held)):
                values = {
                    "suspect": f"{secrets.token_hex(4)}-{number}",
                    "crashes": tasks.c.crashes + 1,
                }
                self._give_back(connection, [row.id for row in group], values)
            ended = [(row.id, row.attempt) for row in held]
            close_attempts(connection, ended, "crashed", now, reason)

        if claims:
            self.write(work)

    def still_mine(self, worker_id: str) -> frozenset[str]:
        """Ids of the tasks that this worker holds in the store's eyes."""
        statement = select(tasks.c.id).where(
            tasks.c.worker_id == worker_id, tasks.c.state == State.RUNNING
        )
        return self.read(lambda c: frozenset(c.execute(statement).scalars()))

    def _give_back(
        self, connection: Connection, task_ids: Sequence[str], values: Mapping[str, Any]
    ) -> None:
        given = {"state": State.PENDING, "worker_id": None, **values}
        if task_ids:
            connection.execute(update(tasks).where(tasks.c.id.in_(task_ids)).values(given))

    def _quarantine(self, connection: Connection, row: Any, reason: str, now: float) -> None:
        said = f"the engine died while it ran this task alone: {reason}"
        connection.execute(
            update(tasks)
            .where(tasks.c.id == row.id)
            .values(
                state=State.QUARANTINED,
                crashes=tasks.c.crashes + 1,
                finished_at=now,
                reason_code="quarantined",
                reason=said,
            )
        )
        close_attempts(connection, [(row.id, row.attempt)], "quarantined", now, reason)

    def _state(self) -> ColumnElement[str]:
        """The state, kept from SQLite's planner: with eight ids or more and a bare state it
        leaves the primary key for a state index and scans the backlog (13 times slower)."""
        return literal_column("+tasks.state") if self.is_sqlite else tasks.c.state

    def _standing(
        self, connection: Connection, by_id: Mapping[str, Outcome]
    ) -> tuple[dict[str, int], frozenset[str]]:
        """The ids whose claim still holds, with the losses so far of each, and the ids that this
        very attempt recorded before.

        Looking before calling a row fenced matters: a commit whose answer was
        lost on the way comes here twice.
        """
        rows = connection.execute(
            select(tasks.c.id, tasks.c.attempt, tasks.c.state, tasks.c.losses)
            .where(tasks.c.id.in_(sorted(by_id)))
            .with_for_update()
        ).all()
        same = [row for row in rows if row.attempt == by_id[row.id].attempt]
        mine = {row.id: row.losses for row in same if row.state == State.RUNNING}
        recorded = (State.SUCCEEDED, State.FAILED)
        return mine, frozenset(row.id for row in same if row.state in recorded)

    def _held(self, connection: Connection, claims: Sequence[Claim]) -> list[Any]:
        attempt_of = {claim.task_id: claim.attempt for claim in claims}
        rows = connection.execute(
            select(tasks.c.id, tasks.c.attempt, tasks.c.suspect, tasks.c.crashes)
            .where(tasks.c.id.in_(sorted(attempt_of)), self._state() == State.RUNNING)
            .with_for_update()
        ).all()
        return [row for row in rows if row.attempt == attempt_of[row.id]]

    def _record_results(
        self, connection: Connection, done: Sequence[Outcome], worker_id: str, now: float
    ) -> None:
        if not done:
            return
        rows = [
            {
                "task_id": o.task_id,
                "attempt": o.attempt,
                "worker_id": worker_id,
                "output": dict(o.output or {}),
                "artifacts": [asdict(artifact) for artifact in o.artifacts],
                "metrics": dict(o.metrics),
                "recorded_at": now,
            }
            for o in done
        ]
        connection.execute(insert(results), rows)
        connection.execute(
            update(tasks)
            .where(tasks.c.id.in_([o.task_id for o in done]))
            .values(state=State.SUCCEEDED, finished_at=now)
        )
        close_attempts(connection, [(o.task_id, o.attempt) for o in done], "succeeded", now)

    def _record_failures(
        self, connection: Connection, failed: Sequence[Outcome], now: float
    ) -> None:
        for o in failed:
            assert o.failure is not None  # noqa: S101  # the caller chose them by it
            values = {"reason_code": o.failure.code, "reason": o.failure.message}
            connection.execute(
                update(tasks)
                .where(tasks.c.id == o.task_id)
                .values(state=State.FAILED, finished_at=now, **values)
            )
            ended = [(o.task_id, o.attempt)]
            close_attempts(connection, ended, "failed", now, o.failure.message)

    def _put_off(self, connection: Connection, again: Sequence[Outcome], now: float) -> None:
        for o in again:
            longest = min(RETRY_FIRST * 2 ** (o.attempt - 1), RETRY_LONGEST)
            pause = random.uniform(0, longest)  # noqa: S311  # full jitter
            connection.execute(
                update(tasks)
                .where(tasks.c.id == o.task_id)
                .values(
                    state=State.PENDING,
                    worker_id=None,
                    losses=tasks.c.losses + 1,
                    not_before=now + pause,
                )
            )
            reason = o.failure.message if o.failure else None
            close_attempts(connection, [(o.task_id, o.attempt)], "retried", now, reason)


#: Columns of a claim, in the order of Claim's fields.
_CLAIMED = (
    "id",
    "job_id",
    "attempt",
    "kind",
    "model",
    "batch_key",
    "rows",
    "params",
    "seed",
    "suspect",
)


def _groups(held: Sequence[Any]) -> list[Sequence[Any]]:
    """How suspects are parted: by the square root at first, then one by one."""
    size = 1 if any(row.suspect for row in held) else math.isqrt(max(len(held) - 1, 0)) + 1
    return [held[start : start + size] for start in range(0, len(held), size)]
