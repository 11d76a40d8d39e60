"""A head of a job or of a chain: written once, by whoever comes first."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Table, or_, select

from genfarm_shared.errors import JobConflict
from genfarm_shared.store.database import insert_new

#: Looks for a head that goes as often as it comes. One is enough unless somebody disowns it
#: between the insert and the look; not measured.
LOOKS = 10


def write_head(connection: Connection, table: Table, row: Mapping[str, Any]) -> Row[Any]:
    """The row of that identity or id, which is this one where there was none.

    Raises JobConflict when the id is there and bears the identity no more: it was withdrawn
    before its last input was written.
    """
    same = table.c.id == row["id"]
    if row["identity"] is not None:
        same = or_(same, table.c.identity == row["identity"])
    for _ in range(LOOKS):  # again where one of that identity gave it up in between
        connection.execute(insert_new(connection, table), [dict(row)])
        found = connection.execute(select(table).where(same)).all()
        bearer = next((one for one in found if one.identity == row["identity"]), None)
        if bearer is not None:
            return bearer
        if found:
            break
    raise JobConflict(
        f"{row['id']} was cancelled before its last input was written, so that nothing can be "
        "added to it; submit again, under another name or with on_conflict='new'"
    )
