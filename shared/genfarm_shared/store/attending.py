"""What a worker writes of itself: that it lives, and how it ends."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from genfarm_shared.schema import meta, workers
from genfarm_shared.store.database import Database, insert_new
from genfarm_shared.tasks import WorkerRecord


class Attending(Database):
    """The verbs of a worker's life."""

    def farm(self) -> str:
        """The name of the farm that these tables are of: made once, and unique for ever."""
        statement = select(meta.c.value).where(meta.c.key == "farm")

        def work(connection: Connection) -> str:
            row = {"key": "farm", "value": secrets.token_hex(8)}
            connection.execute(insert_new(connection, meta), [row])
            return str(connection.execute(statement).scalar_one())

        return self.write(work)

    def signing_keys(self) -> list[str]:
        """Public keys that this farm has signed with; the last is the one in use."""
        statement = select(meta.c.value).where(meta.c.key == "signing_keys")
        return self.read(lambda c: json.loads(c.execute(statement).scalar_one_or_none() or "[]"))

    def adopt_key(self, key: str) -> bool:
        """Sign with that key from now on. False while workers live that sign with another."""

        def work(connection: Connection) -> bool:
            empty = {"key": "signing_keys", "value": "[]"}
            connection.execute(insert_new(connection, meta), [empty])
            row = select(meta.c.value).where(meta.c.key == "signing_keys").with_for_update()
            known: list[str] = json.loads(connection.execute(row).scalar_one())
            if known and known[-1] == key:
                return True
            living = select(workers.c.id).where(workers.c.state.in_(("alive", "draining")))
            if known and connection.execute(living.limit(1)).first() is not None:
                return False
            left = [one for one in known if one != key]
            changed = update(meta).where(meta.c.key == "signing_keys")
            connection.execute(changed.values(value=json.dumps([*left, key])))
            return True

        return self.write(work)

    def enlist(self, worker: WorkerRecord) -> None:
        """Write a new worker down as alive."""
        row = asdict(worker)

        def work(connection: Connection) -> None:
            now = self.clock(connection)
            connection.execute(insert(workers), [{**row, "started_at": now, "beat_at": now}])

        self.write(work)

    def beat(self, worker_id: str, report: Mapping[str, Any]) -> bool:
        """Renew the worker's lease. False: it was judged dead and must stop at once."""

        def work(connection: Connection) -> bool:
            done = connection.execute(
                update(workers)
                .where(workers.c.id == worker_id, workers.c.state.in_(("alive", "draining")))
                .values(beat_at=self.clock(connection), report=dict(report))
            )
            return done.rowcount == 1

        return self.write(work)

    def drain(self, worker_id: str) -> None:
        """Say that the worker takes no new task."""
        statement = (
            update(workers)
            .where(workers.c.id == worker_id, workers.c.state == "alive")
            .values(state="draining")
        )
        self.write(lambda connection: connection.execute(statement))

    def retire(self, worker_id: str, reason: str) -> None:
        """Say that the worker has stopped by itself."""

        def work(connection: Connection) -> None:
            connection.execute(
                update(workers)
                .where(workers.c.id == worker_id, workers.c.state.in_(("alive", "draining")))
                .values(state="stopped", ended_at=self.clock(connection), reason=reason)
            )

        self.write(work)
