"""The audit of attempts: a row for every start, closed with how it ended."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, update

from genfarm_shared.schema import attempts
from genfarm_shared.store.among import among, pair, pair_of

_CLOSE = (
    update(attempts)
    .where(
        # By the leading column of the key first: the pair alone has no index.
        among(attempts.c.task_id, "ids"),
        among(pair_of(attempts.c.task_id, attempts.c.attempt), "pairs"),
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
        said = {"at": now, "as_outcome": outcome, "why": reason}
        ids, pairs = [task for task, _ in ended], [pair(*one) for one in ended]
        connection.execute(_CLOSE, {"ids": ids, "pairs": pairs, **said})
