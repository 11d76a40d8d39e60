"""The audit of attempts: a row for every start, closed with how it ended."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, update

from genfarm_shared.schema import attempts


def open_attempts(
    connection: Connection, claimed: Sequence[tuple[str, int]], worker_id: str, now: float
) -> None:
    """Note that those (task, attempt) pairs have started."""
    if claimed:
        connection.execute(
            insert(attempts),
            [
                {"task_id": task, "attempt": attempt, "worker_id": worker_id, "started_at": now}
                for task, attempt in claimed
            ],
        )


_CLOSE = (
    update(attempts)
    .where(
        attempts.c.task_id == bindparam("of_task"),
        attempts.c.attempt == bindparam("of_attempt"),
        attempts.c.ended_at.is_(None),
    )
    .values(ended_at=bindparam("at"), outcome=bindparam("as_outcome"), reason=bindparam("why"))
)


def close_attempts(
    connection: Connection,
    ended: Sequence[tuple[str, int]],
    outcome: str,
    now: float,
    reason: str | None = None,
) -> None:
    """Note how those (task, attempt) pairs ended; a pair never claimed has no row."""
    if ended:
        rows = [
            {
                "of_task": task,
                "of_attempt": attempt,
                "at": now,
                "as_outcome": outcome,
                "why": reason,
            }
            for task, attempt in ended
        ]
        connection.execute(_CLOSE, rows)
