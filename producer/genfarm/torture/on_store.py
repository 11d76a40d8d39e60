"""Faults of the database: locked, and stopped at once."""

import threading
from random import Random

from genfarm.torture.blow import Blow, Field
from genfarm_shared.errors import Unreachable
from genfarm_shared.store import Store


def lock_database(at: Field, rng: Random) -> Blow | None:
    seconds, released = rng.choice((0.5, 1.0, 2.0, 6.0)), threading.Event()

    def hold() -> None:
        store = Store(at.yard.settings.store_url, migrate=False)
        try:
            store.seize(lambda: released.wait(seconds))
        except Unreachable:
            return  # it was down already
        finally:
            store.close()

    holder = threading.Thread(target=hold, name="lock", daemon=True)
    holder.start()

    def heal() -> None:
        released.set()
        holder.join(10.0)

    return Blow("every writer", seconds, heal)


def restart_database(at: Field, rng: Random) -> Blow | None:
    postgres = at.yard.postgres
    if postgres is None:
        return None
    postgres.stop_at_once()
    return Blow("PostgreSQL", rng.choice((0.2, 1.0, 3.0)), postgres.start)
