"""Dead letters: messages that no worker could use, kept to be looked at and put back."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from genfarm_shared.errors import NotFound
from genfarm_shared.messages import HEAD_BYTES, MAX_BYTES, DeadLetter, Letter, task_id_of
from genfarm_shared.schema import dead_letters
from genfarm_shared.store.database import Database

#: The newest letters that are kept: enough to see what happened, and with MAX_BYTES each a
#: flood of them fills no more than 640 MB of the database.
KEPT = 10_000


class Burying(Database):
    """The verbs for refused messages."""

    def bury(self, letters: Sequence[Letter]) -> None:
        """Keep messages that no worker can use; the oldest beyond KEPT go."""

        def work(connection: Connection) -> None:
            at = self.clock(connection)
            connection.execute(insert(dead_letters), [{**_row(one), "at": at} for one in letters])
            newest = select(func.max(dead_letters.c.id)).scalar_subquery()
            connection.execute(delete(dead_letters).where(dead_letters.c.id <= newest - KEPT))

        if letters:
            self.write(work)

    def list_letters(self, limit: int) -> list[DeadLetter]:
        """The newest first."""
        statement = select(dead_letters).order_by(dead_letters.c.id.desc()).limit(limit)
        return self.read(lambda c: [_letter(row) for row in c.execute(statement)])

    def read_letters(self, ids: Collection[int]) -> list[DeadLetter]:
        """Those, by their ids. Raises NotFound when there is one that is not kept."""
        statement = select(dead_letters).where(dead_letters.c.id.in_(ids)).order_by("id")
        found = self.read(lambda c: [_letter(row) for row in c.execute(statement)])
        missing = sorted(set(ids) - {letter.id for letter in found})
        if missing:
            raise NotFound(f"no dead letter {missing[0]}; `genfarm deadletters ls` lists them")
        return found

    def unreplayed_after(self, letter_id: int, limit: int) -> list[DeadLetter]:
        """The next letters after that one that have not been put back, oldest first."""
        waits = (dead_letters.c.id > letter_id, dead_letters.c.replayed_at.is_(None))
        statement = select(dead_letters).where(*waits).order_by(dead_letters.c.id).limit(limit)
        return self.read(lambda c: [_letter(row) for row in c.execute(statement)])

    def mark_replayed(self, ids: Collection[int]) -> None:
        """Note that those were put back into their queues."""

        def work(connection: Connection) -> None:
            connection.execute(
                update(dead_letters)
                .where(dead_letters.c.id.in_(ids))
                .values(replayed_at=self.clock(connection))
            )

        self.write(work)

    def purge_letters(self, *, older_than: float | None = None) -> int:
        """Delete letters, all or those older than so many seconds; returns how many."""

        def work(connection: Connection) -> int:
            statement = delete(dead_letters)
            if older_than is not None:
                statement = statement.where(dead_letters.c.at < self.clock(connection) - older_than)
            return connection.execute(statement).rowcount

        return self.write(work)


def _row(letter: Letter) -> dict[str, Any]:
    is_whole = letter.size <= MAX_BYTES
    head = letter.body[:HEAD_BYTES].decode("latin-1").encode("unicode_escape").decode("ascii")
    return {
        "source": letter.source,
        "reason": letter.reason,
        "sha256": hashlib.sha256(letter.body).hexdigest(),
        "size": letter.size,
        "head": head,
        "body": letter.body if is_whole else None,
        "task_id": task_id_of(letter.body) if is_whole else None,
    }


def _letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**row._mapping)
