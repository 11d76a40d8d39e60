"""Some of very many tasks at a time, held so that nobody changes them in between."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from genfarm_shared.schema import tasks
from genfarm_shared.store.database import SLICE


def hold_slice(
    connection: Connection, where: Sequence[ColumnElement[bool]], values: Mapping[str, Any]
) -> Sequence[str]:
    """Ids of some of those tasks, locked until the transaction ends.

    An UPDATE whose subquery chooses them would not do: while it waits for a
    row, PostgreSQL looks again at the UPDATE's own conditions, and not at those
    of the subquery, and so overwrites what has ended meanwhile.
    """
    some = select(tasks.c.id).where(*where).limit(SLICE).with_for_update()
    return connection.execute(some, values).scalars().all()
