"""Connections, transactions and retries. Knows no table.

Outages are retried here and nowhere else: `write` repeats a whole
transaction, so what is handed to it must be safe to run again.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Double,
    Engine,
    Insert,
    Table,
    bindparam,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from genfarm_shared.errors import GenfarmError, InvalidSetting, MissingExtra, Unreachable
from genfarm_shared.settings import PRIVATE, masked

T = TypeVar("T")

#: Seconds a writer waits for SQLite's one write lock.
LOCK_SECONDS = 30.0
#: Rows that a transaction changes when there may be very many: 5 to 20 ms on SQLite.
SLICE = 500
#: Seconds between two slices on SQLite, at most.
LONGEST_PAUSE = 0.05
#: Longest pause before a failed attempt is tried again, seconds.
RETRY_LONGEST = 60.0
_POSTGRES_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")


class _Now(FunctionElement[float]):
    """The time bound as `now`, or the database's own where that is null. UTC seconds."""

    type = Double()
    inherit_cache = True

    def __init__(self) -> None:
        super().__init__(bindparam("now", type_=Double()))


@compiles(_Now)
def _given_time(element: _Now, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_Now, "postgresql")
def _servers_time(element: _Now, compiler: SQLCompiler, **options: Any) -> str:
    given = compiler.process(element.clauses, **options)
    return f"coalesce({given}, extract(epoch FROM statement_timestamp()))"


#: In a statement, what `moment` binds as `now`: saves PostgreSQL the round trip of `clock`.
NOW = _Now()


class Database:
    """One database behind an SQLAlchemy URL, migrated to this version on first use."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = 5.0,
        migrate: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`clock` stands in for the database's: UTC seconds."""
        self.url = masked(url)
        self.patience = patience
        self._clock = clock
        self._engine = _connect(url)
        self._turn = threading.Lock()
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        if migrate:
            self.upgrade(url)

    def upgrade(self, url: str) -> None:
        """Bring the tables to this version; safe when several processes try at once."""
        from genfarm_shared.migrations import upgrade

        try:
            self.write(lambda connection: upgrade(connection, url))
        except DBAPIError as error:  # no right to make tables, say
            raise self._unusable(error) from error

    def is_current(self) -> bool:
        """Whether the tables are there and at this version. Changes nothing."""
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        from genfarm_shared import migrations

        head = ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
        return self.read(lambda c: MigrationContext.configure(c).get_current_revision() == head)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction, again when the database falters."""
        return self._persist(work, write=True)

    def write_at_once(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which is one statement on PostgreSQL, without a transaction around it.

        Of its three round trips that saves two. When the database falters it
        runs again within one, and may find that the first try was done.
        """
        return self._persist(work, write=True, is_single=not self.is_sqlite)

    def write_in_slices(self, step: Callable[[Connection], int]) -> int:
        """Repeat `step`, a transaction each, until one has nothing left to do; returns the sum.

        `step` does at most SLICE rows and says how many. A crash between two
        leaves what is done done; the same call again goes on from there. Under
        SQLite's one write lock the pauses are as long as the slices, or those
        who poll for the lock, a worker's beat say, would never find it free.
        """
        done = 0
        while True:
            began = time.monotonic()
            number = self.write(step)
            if not number:
                return done
            done += number
            if self.is_sqlite:
                time.sleep(min(time.monotonic() - began, LONGEST_PAUSE))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one read transaction."""
        return self._persist(work, write=False)

    def clock(self, connection: Connection) -> float:
        """The database's time: one clock for every lease of the farm. UTC seconds."""
        given = self.moment()
        if given is not None:  # SQLite is of one host, whose clock is the database's
            return given
        return float(connection.execute(_POSTGRES_CLOCK).scalar_one())

    def moment(self) -> float | None:
        """What a statement that holds NOW binds as `now`."""
        if self._clock is not None:
            return self._clock()
        return time.time() if self.is_sqlite else None

    def close(self) -> None:
        self._engine.dispose()

    def _persist(
        self, work: Callable[[Connection], T], *, write: bool, is_single: bool = False
    ) -> T:
        give_up = time.monotonic() + self.patience
        delay = 0.05
        while True:
            try:
                with self._transaction(write=write, is_single=is_single) as connection:
                    return work(connection)
            except (OperationalError, InterfaceError, InternalError) as error:
                if time.monotonic() + delay > give_up:
                    raise self._unreachable(error) from error
            except DatabaseError as error:
                # Its subclasses say more, and are for whoever wrote the statement.
                if type(error) is not DatabaseError:
                    raise
                raise self._unusable(error) from error
            is_single = False
            # Full jitter, so that the workers of a farm do not return in step.
            time.sleep(random.uniform(0, delay))  # noqa: S311
            delay = min(delay * 2, 1.0)

    @contextmanager
    def _transaction(self, *, write: bool, is_single: bool = False) -> Iterator[Connection]:
        with self._in_turn() if write and self.is_sqlite else nullcontext():
            connecting = self._engine.connect().execution_options(genfarm_write=write)
            if is_single:
                connecting = connecting.execution_options(isolation_level="AUTOCOMMIT")
            with connecting as connection, connection.begin():
                yield connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One writer of this process at a time: who waits for SQLite's write lock polls for it
        with ever longer sleeps, so that a claim would wait on long after a commit has ended.

        A turn that never comes is left to SQLite to refuse.
        """
        is_mine = self._turn.acquire(timeout=LOCK_SECONDS)
        try:
            yield
        finally:
            if is_mine:
                self._turn.release()

    def _unreachable(self, error: DBAPIError) -> GenfarmError:
        if _has_no_room(error):
            return Unreachable(
                f"the store {self.url} has no room: {_reason(error)}. Nothing of this was written; "
                "free space on its disk, then try again. Workers keep their results and go on by "
                "themselves"
            )
        return Unreachable(
            f"the store {self.url} does not answer: {_reason(error)}. Nothing was written; "
            "check GENFARM_STORE and that the database is up, then try again"
        )

    def _unusable(self, error: DBAPIError) -> GenfarmError:
        return InvalidSetting(
            f"the store {self.url} cannot be used: {_reason(error)}. Nothing was written; "
            "point GENFARM_STORE at a farm's database or at a new one, where tables may be made"
        )


def _has_no_room(error: DBAPIError) -> bool:
    """A full disk or quota: PostgreSQL's 53100; SQLite calls EFBIG and the like an I/O error."""
    said = getattr(error.orig, "sqlite_errorname", "")
    state = getattr(error.orig, "sqlstate", None)
    return said in {"SQLITE_FULL", "SQLITE_IOERR_WRITE"} or state == "53100"


def insert_new(connection: Connection, table: Table) -> Insert:
    """An insert that leaves rows alone whose key is there already, whoever wrote them just now."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _reason(error: DBAPIError) -> str:
    return next(iter(str(error.orig or error).strip().splitlines()), type(error).__name__)


def _connect(url: str) -> Engine:
    try:
        parsed = make_url(url)
        options: dict[str, Any] = {}
        if parsed.get_backend_name() == "sqlite":
            options = {"connect_args": {"timeout": LOCK_SECONDS, "check_same_thread": False}}
            # The connection that wrote last goes first: its cache holds what it wrote, and what
            # another one holds is stale by then.
            options["pool_use_lifo"] = True
            _make_folder(parsed.database)
        elif parsed.get_backend_name() == "postgresql":
            options["connect_args"] = {"connect_timeout": 5}
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError) as error:
        raise InvalidSetting(
            f"GENFARM_STORE={masked(url)!r} is not a database URL: {error}. Expected "
            "sqlite:///path/farm.db or postgresql+psycopg://user:password@host/database"
        ) from error
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the store {masked(url)} needs the package {error.name!r}: "
            "pip install 'genfarm[postgres]'"
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


def _make_folder(database: str | None) -> None:
    if not database or database == ":memory:":
        raise InvalidSetting("a farm's SQLite store must be a file: sqlite:///path/farm.db")
    try:
        Path(database).parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSetting(f"cannot make the folder of the store {database}: {error}") from error


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            raw.execute(f"PRAGMA {pragma}")

    # A transaction that reads and then writes fails at once when another writes between,
    # whatever the timeout; taking the write lock first waits instead.
    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("genfarm_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
