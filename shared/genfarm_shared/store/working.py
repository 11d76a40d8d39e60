"""What a worker writes of its tasks: what it claims, gives back, and how they ended."""

import itertools
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    select,
    update,
)

from genfarm_shared.schema import tasks
from genfarm_shared.store.audit import close_attempts
from genfarm_shared.store.database import RETRY_LONGEST, Database
from genfarm_shared.store.strides import STATE, claim_batch, record_batch
from genfarm_shared.tasks import Claim, Outcome, State

#: First pause before a failed attempt is tried again, seconds.
RETRY_FIRST = 1.0
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
        tries = itertools.count()

        def work(connection: Connection) -> list[Claim]:
            again = next(tries) > 0
            if not again:
                return claim_batch(connection, task_ids, worker_id, self.moment(), again=False)
            # One time for both: the audit wants each attempt to begin after the one before.
            now = self.clock(connection)
            claims = claim_batch(connection, task_ids, worker_id, now, again=True)
            before = [(claim.task_id, claim.attempt - 1) for claim in claims]
            close_attempts(connection, before, "released", now, "the answer was lost")
            return claims

        return self.write_at_once(work) if task_ids else []

    def commit(
        self, outcomes: Sequence[Outcome], worker_id: str, *, max_attempts: int
    ) -> Committed:
        """Record how attempts ended: the successes at once, then the others; one result row a
        task at most."""
        # Of two attempts at one task only the later can hold the claim.
        ends = {o.task_id: o for o in sorted(outcomes, key=lambda o: o.attempt)}
        good = [outcome for outcome in ends.values() if outcome.failure is None]
        done = self.write_at_once(lambda c: record_batch(c, good, worker_id, self.moment()))
        rest = {task_id: o for task_id, o in ends.items() if task_id not in done}

        def work(connection: Connection) -> Committed:
            now = self.clock(connection)
            losses, known = self._standing(connection, rest)
            mine = [rest[task_id] for task_id in losses if rest[task_id].failure]
            again = [
                o
                for o in mine
                if o.failure and o.failure.retryable and losses[o.task_id] + 1 < max_attempts
            ]
            failed = [o for o in mine if o not in again]
            self._record_failures(connection, failed, now)
            self._put_off(connection, again, now)
            recorded = done | known | {o.task_id for o in failed}
            retried = frozenset(o.task_id for o in again)
            return Committed(recorded, retried, frozenset(rest) - recorded - retried)

        return self.write(work) if rest else Committed(done, frozenset(), frozenset())

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
            .where(tasks.c.id.in_(sorted(attempt_of)), STATE == State.RUNNING)
            .with_for_update()
        ).all()
        return [row for row in rows if row.attempt == attempt_of[row.id]]

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


def _groups(held: Sequence[Any]) -> list[Sequence[Any]]:
    """How suspects are parted: by the square root at first, then one by one."""
    size = 1 if any(row.suspect for row in held) else math.isqrt(max(len(held) - 1, 0)) + 1
    return [held[start : start + size] for start in range(0, len(held), size)]
