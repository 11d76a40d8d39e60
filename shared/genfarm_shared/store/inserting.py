"""How tasks come into the store: many at once, and where Redis has room as queued already.

What is inserted as queued saves dispatch a second write of every row: the
caller publishes it. A crash between the two leaves rows that say queued and
have no message, which reconcile finds, as it does after dispatch.
"""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Insert, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from genfarm_shared.errors import JobConflict
from genfarm_shared.schema import tasks
from genfarm_shared.store.among import rows_of
from genfarm_shared.store.database import Database
from genfarm_shared.store.dispatching import vacancy
from genfarm_shared.tasks import State, Task

#: Rows a statement takes on PostgreSQL, as one document.
CHUNK = 1000
#: Rows a statement takes on SQLite, each value bound. 500 are no faster than 100.
TOGETHER = 100
#: What a task brings of its row, and what the store adds.
_BROUGHT = (
    "id",
    "job_id",
    "index",
    "custom_id",
    "kind",
    "model",
    "batch_key",
    "rows",
    "params",
    "seed",
    "priority",
)
_ADDED = ("state", "created_at", "queued_at")
_COLUMNS = (*_BROUGHT, *_ADDED)


class Inserting(Database):
    """The one verb that writes tasks down. Once it has returned, they cannot be lost."""

    def insert(self, new: Sequence[Task], window: int = 0) -> int:
        """Write tasks of one job down, all or none of the call; rows already there stay.

        Returns how many, from the first on, are queued: for the caller to publish. The rest are
        pending. With a `window`, as many are queued as it leaves room for, and none while
        anything waits for dispatch, whose order that would upset. Raises JobConflict when
        their job has been withdrawn.
        """
        most = 0

        def work(connection: Connection) -> int:
            nonlocal most
            now = self.clock(connection)
            if window:
                # Of a try whose answer was lost the rows are queued: more than now have room.
                most = max(most, min(vacancy(connection, new[0].model, window), len(new)))
            _insert(connection, new[:most], State.QUEUED, now)
            _insert(connection, new[most:], State.PENDING, now)
            return most

        try:
            return self.write(work) if new else 0
        except IntegrityError as error:
            if not is_orphan(error):
                raise
            raise withdrawn(new[0].job_id) from error


def withdrawn(job_id: str) -> JobConflict:
    """The error for a job that went while its tasks were written."""
    return JobConflict(
        f"job {job_id} was withdrawn while it was written, by the process that began it or by "
        "`genfarm jobs rm`. Nothing of it runs; submit again"
    )


def is_orphan(error: IntegrityError) -> bool:
    """Whether the rows' job is not there."""
    said = getattr(error.orig, "sqlite_errorname", "") or getattr(error.orig, "sqlstate", "")
    return said in {"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"}


def _insert(connection: Connection, new: Sequence[Task], state: State, now: float) -> None:
    added = (state.value, now, now if state is State.QUEUED else None)
    if connection.dialect.name == "sqlite":
        _insert_into_sqlite(connection, [(*_values(task), *added) for task in new])
        return
    for start in range(0, len(new), CHUNK):
        document = f"[{','.join(map(_object, new[start : start + CHUNK]))}]"
        given = dict(zip(_ADDED, added, strict=True))
        connection.execute(_FOR_POSTGRES, {"document": document, **given})


def _insert_into_sqlite(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    # By the driver's own loop: SQLAlchemy's handling of a row takes as long as its insert.
    # A statement for each row takes half as long again, because each sets up its checks anew.
    whole = len(rows) - len(rows) % TOGETHER
    many = [
        tuple(chain.from_iterable(rows[start : start + TOGETHER]))
        for start in range(0, whole, TOGETHER)
    ]
    for statement, values in ((_MANY_FOR_SQLITE, many), (_ONE_FOR_SQLITE, rows[whole:])):
        if values:
            connection.exec_driver_sql(statement, values)


def _values(task: Task) -> tuple[Any, ...]:
    """A task's part of its row, in the order of _BROUGHT."""
    return (
        task.id,
        task.job_id,
        task.index,
        task.custom_id,
        task.kind,
        task.model,
        task.batch_key,
        task.rows,
        _encoded(task),
        task.seed,
        task.priority,
    )


def _object(task: Task) -> str:
    """A task's part of its row as a JSON object."""
    columns = dict(zip(_BROUGHT, _values(task), strict=True))
    params = columns.pop("params")
    return f'{json.dumps(columns)[:-1]},"params":{params}}}'


def _encoded(task: Task) -> str:
    return task.params if isinstance(task.params, str) else json.dumps(dict(task.params))


def _for_sqlite(number: int) -> str:
    """The insert of that many rows as the driver takes it: their values after one another, each
    row's in the order of _COLUMNS."""
    values: dict[str, Any] = {name: bindparam(name) for name in _COLUMNS}
    statement = sqlite.insert(tasks).values(values).on_conflict_do_nothing()
    one = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    if tuple(one.positiontup or ()) != _COLUMNS:
        raise AssertionError("values in another order than the columns. This is a bug.")
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return str(one).replace(row, ", ".join([row] * number))


def _for_postgres() -> Insert:
    """The insert of rows that come as one JSON document: arrays of the columns, or a row of
    values each, take psycopg ten times as long to bind."""
    brought = [tasks.c[name] for name in _BROUGHT]
    added = [bindparam(name, type_=tasks.c[name].type) for name in _ADDED]
    rows = rows_of(brought, "document", "postgresql").add_columns(*added)
    return postgresql.insert(tasks).from_select(_COLUMNS, rows).on_conflict_do_nothing()


_ONE_FOR_SQLITE, _MANY_FOR_SQLITE = _for_sqlite(1), _for_sqlite(TOGETHER)
_FOR_POSTGRES = _for_postgres()
