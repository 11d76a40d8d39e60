"""How large batches are: what one worker found, for all that are like it.

A batch of a fixed size is what keeps a task's bytes independent of its mates, so
two workers of one farm must agree on it: the first that finds it is heard. Where
memory ran out is another matter, of which the last news counts.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select, update

from genfarm_shared.schema import ceilings
from genfarm_shared.store.database import Database, insert_new
from genfarm_shared.tasks import Ceiling

_KEY = ("model", "batch_key", "device", "build")


class Sizing(Database):
    """The verbs of whoever measures."""

    def settle_size(self, found: Ceiling) -> Ceiling:
        """Write down what was found unless another was first; returns what stands."""

        def work(connection: Connection) -> Ceiling:
            row = {**asdict(found), "found_at": self.clock(connection)}
            connection.execute(insert_new(connection, ceilings), [row])
            standing = select(ceilings).where(*_same(found))
            return _read(connection.execute(standing).one())

        return self.write(work)

    def note_shortages(self, found: Sequence[Ceiling]) -> None:
        """Write down where memory ran out, over what was known of it."""

        def work(connection: Connection) -> None:
            now = self.clock(connection)
            for one in found:
                row = {**asdict(one), "found_at": now}
                connection.execute(insert_new(connection, ceilings), [row])
                changed = update(ceilings).where(*_same(one), ceilings.c.rows != one.rows)
                connection.execute(changed.values(row))

        if found:
            self.write(work)

    def list_ceilings(self, device: str | None = None) -> list[Ceiling]:
        """Those of one kind of device, or all."""
        statement = select(ceilings).order_by(*(ceilings.c[name] for name in _KEY))
        if device is not None:
            statement = statement.where(ceilings.c.device == device)
        return self.read(lambda c: [_read(row) for row in c.execute(statement)])


def _same(found: Ceiling) -> list[Any]:
    return [ceilings.c[name] == getattr(found, name) for name in _KEY]


def _read(row: Row[Any]) -> Ceiling:
    return Ceiling(**row._mapping)
