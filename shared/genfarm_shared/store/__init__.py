"""The store: every fact of the farm, and the only room that speaks SQL.

    submitting.py   what a producer writes: jobs, their seals, a person's later word
    opening.py      heads of jobs and chains, each written once
    inserting.py    the tasks of a job, many at once
    chaining.py     chains: their heads and inputs
    concluding.py   rows of chains that end as they are written
    attending.py    what a worker writes of itself: its beat, its end
    sizing.py       how large batches are, for all workers of one kind
    working.py      what a worker writes of its tasks: claims, outcomes
    burying.py      messages that nobody could use
    dispatching.py  which pending tasks are queued next
    mending.py      what a keeper writes: reap, requeue, expire
    slices.py       some of very many rows at a time
    reading.py      what anybody reads
    books.py        what an audit reads, row by row
    database.py     connections, transactions, retries, migrations

SQLite and PostgreSQL behave alike; one suite of tests runs on both.
"""

from genfarm_shared.store.attending import Attending
from genfarm_shared.store.books import Books
from genfarm_shared.store.burying import Burying
from genfarm_shared.store.chaining import Chaining
from genfarm_shared.store.concluding import Concluding
from genfarm_shared.store.database import Database
from genfarm_shared.store.dispatching import Dispatching
from genfarm_shared.store.inserting import Inserting
from genfarm_shared.store.mending import Mending
from genfarm_shared.store.reading import Reading
from genfarm_shared.store.sizing import Sizing
from genfarm_shared.store.submitting import Submitting
from genfarm_shared.store.working import Working


class Store(
    Chaining,
    Submitting,
    Inserting,
    Concluding,
    Dispatching,
    Attending,
    Sizing,
    Burying,
    Working,
    Mending,
    Reading,
    Books,
):
    """One farm's store. Safe for many threads; one per process is enough.

    Every method raises Unreachable when the database does not answer within
    `patience` seconds; what it had begun is then not written.
    """


__all__ = ["Database", "Store"]
