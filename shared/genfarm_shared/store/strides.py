"""The two statements that every task costs: its claim, and the record of its success.

Each for a whole batch. PostgreSQL does all of it in one round trip, for a round
trip costs more than what it asks for; SQLite has no writing CTE and no trips
to save, and its statements are in `lite.py`. The texts are built once:
SQLAlchemy takes longer to build them than the databases to run them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Update,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from genfarm_shared.schema import attempts, jobs, results, tasks, workers
from genfarm_shared.store.among import among, pair, pair_of, rows_of, unindexed
from genfarm_shared.store.database import NOW
from genfarm_shared.store.lite import claim_rows, record_rows
from genfarm_shared.tasks import Claim, Outcome, State

STATE = unindexed(tasks.c.state)
_WORKER = bindparam("worker", type_=String)

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
_OPENED = ("id", "attempt", "worker_id", "claimed_at")
_AUDITED = ("task_id", "attempt", "worker_id", "started_at")


def claim_batch(
    connection: Connection,
    task_ids: Sequence[str],
    worker_id: str,
    now: float | None,
    *,
    again: bool,
) -> list[Claim]:
    """Claim what is free of those tasks, `again` what is the worker's own too; open the audit."""
    if now is not None and connection.dialect.name == "sqlite":
        found = claim_rows(connection, task_ids, worker_id, now, again=again)
        return [Claim(*values) for values in found]
    asked = {"ids": sorted(task_ids), "now": now, "worker": worker_id}
    return [Claim(*row) for row in connection.execute(_CLAIM_IN_ONE[again], asked)]


def record_batch(
    connection: Connection, done: Sequence[Outcome], worker_id: str, now: float | None
) -> frozenset[str]:
    """Record the successes whose claim still holds; returns their ids."""
    if not done:
        return frozenset()
    if now is not None and connection.dialect.name == "sqlite":
        return record_rows(connection, [_result_values(o) for o in done], worker_id, now)
    rows = {o.task_id: _result_row(o, worker_id) for o in done}
    held = {"ids": sorted(rows), "pairs": [pair(o.task_id, o.attempt) for o in done], "now": now}
    given = {**held, "document": json.dumps([*rows.values()], allow_nan=False)}
    return frozenset(connection.execute(_RECORD_IN_ONE, given).scalars())


def _result_values(outcome: Outcome) -> tuple[object, ...]:
    artifacts = [asdict(artifact) for artifact in outcome.artifacts]
    return outcome.task_id, outcome.attempt, outcome.output or {}, artifacts, outcome.metrics


def _result_row(outcome: Outcome, worker_id: str) -> Mapping[str, Any]:
    return {
        "task_id": outcome.task_id,
        "attempt": outcome.attempt,
        "worker_id": worker_id,
        "output": dict(outcome.output or {}),
        "artifacts": [asdict(artifact) for artifact in outcome.artifacts],
        "metrics": dict(outcome.metrics),
    }


def _claiming(condition: ColumnElement[bool]) -> Update:
    alive = exists().where(workers.c.id == _WORKER, workers.c.state == "alive")
    return (
        update(tasks)
        .where(among(tasks.c.id, "ids"), alive, condition)
        .values(state=State.RUNNING, attempt=tasks.c.attempt + 1, worker_id=_WORKER, claimed_at=NOW)
    )


def _claiming_in_one(claiming: Update) -> Select[Any]:
    names = dict.fromkeys((*_CLAIMED, *_OPENED))
    claimed = claiming.returning(*(tasks.c[name] for name in names)).cte("claimed")
    rows = select(*(claimed.c[name] for name in _OPENED))
    opened = insert(attempts).from_select(_AUDITED, rows).returning(attempts.c.task_id)
    answer = select(*(claimed.c[name] for name in _CLAIMED)).add_cte(opened.cte("opened"))
    # A claim that a crash of the server undoes is claimed again, and the fence refuses what it
    # led to: so it need not wait for the disk. The record of a result does.
    return answer.where(func.set_config("synchronous_commit", "off", True) == "off")


def _recording_in_one() -> Select[Any]:
    done = _SUCCEED.cte("done")
    given = rows_of(_BROUGHT, "document", "postgresql").subquery()
    rows = select(*given.c, done.c.finished_at).join(done, done.c.id == given.c.task_id)
    kept = insert(results).from_select(_KEPT, rows).returning(results.c.task_id)
    closed = (
        update(attempts)
        # By the ids as well: with no statistics the planner would scan the audit for the pairs.
        .where(
            among(attempts.c.task_id, "ids"),
            attempts.c.task_id == done.c.id,
            attempts.c.attempt == done.c.attempt,
            attempts.c.ended_at.is_(None),
        )
        .values(ended_at=done.c.finished_at, outcome=State.SUCCEEDED)
        .returning(attempts.c.task_id)
    )
    return select(done.c.id).add_cte(kept.cte("kept"), closed.cte("closed"))


_LATE = exists().where(jobs.c.id == tasks.c.job_id, jobs.c.deadline < NOW)
_FREE = and_(STATE.in_((State.QUEUED, State.PENDING)), ~_LATE)
_OWN = and_(STATE == State.RUNNING, tasks.c.worker_id == _WORKER)
#: By whether the answer to an earlier try was lost.
_CLAIMING = {False: _claiming(_FREE), True: _claiming(or_(_FREE, _OWN))}
_CLAIM_IN_ONE = {again: _claiming_in_one(claiming) for again, claiming in _CLAIMING.items()}
_SUCCEED = (
    update(tasks)
    .where(
        among(tasks.c.id, "ids"),
        among(pair_of(tasks.c.id, tasks.c.attempt), "pairs"),
        STATE == State.RUNNING,
    )
    .values(state=State.SUCCEEDED, finished_at=NOW)
    .returning(tasks.c.id, tasks.c.attempt, tasks.c.finished_at)
)
#: What a worker brings of a result's columns; the last is the time.
_BROUGHT = [column for column in results.c if column.name != "recorded_at"]
_KEPT = [*(column.name for column in _BROUGHT), "recorded_at"]
_RECORD_IN_ONE = _recording_in_one()
