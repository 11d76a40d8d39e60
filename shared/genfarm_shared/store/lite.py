"""The statements of `strides.py` as SQLite wants them: looked up first, then written.

Within a transaction that holds the one write lock nobody comes between the two.
What is found comes as one JSON value: the driver lets go of Python's lock
between two rows, RETURNING's too, and beside busy threads each time may cost
five milliseconds. What is found is named by its rowid, which spares an index.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, TextClause, text

# The texts below are put together from constants; values are bound.
#: A bare state would tempt SQLite's planner to leave the primary key for a state index.
_STATE = "(tasks.state || '')"


def claim_rows(
    connection: Connection, task_ids: Sequence[str], worker_id: str, now: float, *, again: bool
) -> list[list[Any]]:
    """Claim what is free of those tasks, `again` what is the worker's own too, and open the
    audit; returns the values of each claim."""
    asked = {"ids": json.dumps(sorted(task_ids)), "now": now, "worker": worker_id}
    found = _found(connection, _FIND[again], asked)
    if found:
        written = {"rowids": json.dumps([row.pop() for row in found])}
        connection.execute(_CLAIM, {**asked, **written})
        connection.execute(_OPEN, written)
    for row in found:
        if isinstance(row[_PARAMS], str):
            row[_PARAMS] = json.loads(row[_PARAMS])
    return found


def record_rows(
    connection: Connection, rows: Sequence[Sequence[Any]], worker_id: str, now: float
) -> frozenset[str]:
    """Record successes, each (task id, attempt, output, artifacts, metrics), whose claim still
    holds; returns their ids."""
    document = _write(rows)
    held = dict(_found(connection, _HOLDS, {"document": document}))
    if not held:
        return frozenset()
    if len(held) < len(rows):
        document = _write([row for row in rows if row[0] in held])
    given = {"document": document, "now": now, "worker": worker_id}
    connection.execute(_SUCCEED, {"rowids": json.dumps([*held.values()]), "now": now})
    connection.execute(_KEEP, given)
    connection.execute(_CLOSE, given)
    return frozenset(held)


def _found(connection: Connection, statement: TextClause, asked: dict[str, Any]) -> list[Any]:
    found: list[Any] = json.loads(connection.execute(statement, asked).scalar_one())
    return found


def _write(rows: Sequence[Sequence[Any]]) -> str:
    return json.dumps(rows, allow_nan=False)


#: Where the parameters are among a claim's values: as text where SQLite takes them for no JSON,
#: a NaN say of a row that was written past the farm. It would refuse the whole batch for it.
_PARAMS = 7
_FREE = f"""{_STATE} IN ('queued', 'pending')
    AND tasks.job_id NOT IN (SELECT jobs.id FROM jobs WHERE jobs.deadline < :now)"""  # noqa: S608
_OWN = f"{_STATE} = 'running' AND tasks.worker_id = :worker"
#: By whether the answer to an earlier try was lost.
_FIND = {
    again: text(
        f"""SELECT json_group_array(json_array(
            id, job_id, attempt + 1, kind, model, batch_key, "rows",
            CASE WHEN json_valid(params) THEN json(params) ELSE params END, seed, suspect, rowid))
        FROM tasks
        WHERE tasks.id IN (SELECT value FROM json_each(:ids)) AND {condition}
            AND EXISTS (SELECT 1 FROM workers WHERE id = :worker AND state = 'alive')"""  # noqa: S608
    )
    for again, condition in {False: f"({_FREE})", True: f"(({_FREE}) OR ({_OWN}))"}.items()
}
_CLAIM = text(
    """UPDATE tasks
    SET state = 'running', attempt = attempt + 1, worker_id = :worker, claimed_at = :now
    WHERE rowid IN (SELECT value FROM json_each(:rowids))"""
)
_OPEN = text(
    """INSERT INTO attempts (task_id, attempt, worker_id, started_at)
    SELECT id, attempt, worker_id, claimed_at FROM tasks
    WHERE rowid IN (SELECT value FROM json_each(:rowids))"""
)
_HOLDS = text(
    f"""SELECT json_group_array(json_array(tasks.id, tasks.rowid))
    FROM json_each(:document) AS given
    CROSS JOIN tasks ON tasks.id = json_extract(given.value, '$[0]')
    WHERE tasks.attempt = json_extract(given.value, '$[1]') AND {_STATE} = 'running'"""  # noqa: S608
)
_SUCCEED = text(
    """UPDATE tasks SET state = 'succeeded', finished_at = :now
    WHERE rowid IN (SELECT value FROM json_each(:rowids))"""
)
_KEEP = text(
    """INSERT INTO results (task_id, attempt, output, artifacts, metrics, worker_id, recorded_at)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), :worker, :now
    FROM json_each(:document)"""
)
_CLOSE = text(
    """UPDATE attempts SET ended_at = :now, outcome = 'succeeded'
    WHERE ended_at IS NULL AND (task_id, attempt) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
        FROM json_each(:document))"""
)
