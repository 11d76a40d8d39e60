"""The tables. Every outcome of the farm is a row here; Redis only hints at them.

Times are UTC seconds since the epoch. Statements live in `store/`; how a
database grows from one version to the next in `migrations/`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from genfarm_shared.tasks import State

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    # The job's name, or the digest of its content; null for a nameless stream.
    Column("identity", String(200), unique=True),
    Column("name", String(200)),
    Column("kind", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("params", JSON, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("metadata", JSON, nullable=False),
    # Known once the last input is written.
    Column("total", Integer),
    # Rows may be dispatched: at once for a stream, with the last row for the rest.
    Column("released", Boolean, nullable=False),
    Column("deadline", Double),
    Column("created_at", Double, nullable=False),
    Index("ix_jobs_name", "name"),
    Index("ix_jobs_created_at", "created_at"),
    Index(
        "ix_jobs_deadline",
        "deadline",
        sqlite_where=text("deadline IS NOT NULL"),
        postgresql_where=text("deadline IS NOT NULL"),
    ),
)

#: Its stages are jobs: `<chain>.0` and on. See `chains.py`.
chains = Table(
    "chains",
    metadata,
    Column("id", String(40), primary_key=True),
    # As a job's.
    Column("identity", String(200), unique=True),
    Column("name", String(200)),
    # Each with its kind, its model and the templates of its parameters.
    Column("stages", JSON, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("metadata", JSON, nullable=False),
    # Nothing of it that has no row yet is to run.
    Column("cancelled", Boolean, nullable=False),
    # How often tasks of it were run again: what keepers had gone through, they go through anew.
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    # Every row of every stage had ended; null while keepers look after it.
    Column("ended_at", Double),
    Index("ix_chains_name", "name"),
    Index(
        "ix_chains_open",
        "id",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

#: What a chain was asked to make something of, where a later stage looks at it again.
chain_inputs = Table(
    "chain_inputs",
    metadata,
    Column("chain_id", ForeignKey("chains.id", ondelete="CASCADE"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("input", JSON, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("custom_id", String(200), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("batch_key", String(200), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("params", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    # The fence: raised by each claim, named by every later write.
    Column("attempt", Integer, nullable=False, server_default="0"),
    # Attempts that failed or were lost for reasons another attempt may mend.
    Column("losses", Integer, nullable=False, server_default="0"),
    # How often a person had it run again: the only way out of a terminal state.
    Column("retries", Integer, nullable=False, server_default="0"),
    # Engine crashes it was in; and the group of suspects it must next run with, alone in the end.
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("suspect", String(64)),
    Column("worker_id", String(64)),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double),
    Column("claimed_at", Double),
    Column("finished_at", Double),
    Column("reason_code", String(64)),
    Column("reason", Text),
    UniqueConstraint("job_id", "index"),
    UniqueConstraint("job_id", "custom_id"),
    CheckConstraint(f"state IN ({', '.join(repr(str(s)) for s in State)})", name="state"),
    CheckConstraint("state <> 'running' OR worker_id IS NOT NULL", name="running_has_worker"),
    # Led by the job and not by the state: a leading state column tempts SQLite's planner
    # away from the primary key (13 times slower claims).
    Index("ix_tasks_job_state", "job_id", "state"),
    # Of what has ended only, so that neither an insert nor a claim has it to keep.
    Index(
        "ix_tasks_job_finished",
        "job_id",
        "finished_at",
        sqlite_where=text("finished_at IS NOT NULL"),
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
)
for _state, _columns in (
    (State.PENDING, ("priority", "job_id", "index")),
    (State.QUEUED, ("queued_at",)),
    (State.RUNNING, ("worker_id",)),
):
    _only = text(f"state = '{_state}'")
    Index(
        f"ix_tasks_{_state}",
        *(tasks.c[name] for name in _columns),
        sqlite_where=_only,
        postgresql_where=_only,
    )

#: The primary key is the promise: no task has two results.
results = Table(
    "results",
    metadata,
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", String(64), nullable=False),
    Column("output", JSON, nullable=False),
    Column("artifacts", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("recorded_at", Double, nullable=False),
)

#: The audit: every start and every end.
attempts = Table(
    "attempts",
    metadata,
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("worker_id", String(64), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    # A terminal state, or `lost`, `crashed`, `released`.
    Column("outcome", String(16)),
    Column("reason", Text),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("node", String(200), nullable=False),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process", String(120), nullable=False, server_default=""),
    Column("device", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    # What it serves: key, kind, default, description.
    Column("models", JSON, nullable=False),
    # What it says of itself with each beat: resident models, tasks in hand, engine pid.
    Column("report", JSON, nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("reason", Text),
    Index("ix_workers_state", "state"),
)

#: How many rows a batch has where nobody said so: found by a worker, kept for all of its kind.
ceilings = Table(
    "ceilings",
    metadata,
    Column("model", String(64), primary_key=True),
    # Empty: the size of the model's batches. Else where memory ran out: tasks, at most.
    Column("batch_key", String(200), primary_key=True),
    # `cpu:<processor>x<threads>`, or the GPU's name.
    Column("device", String(120), primary_key=True),
    # What else it holds for: torch's version, the precision, the model's source.
    Column("build", String(200), primary_key=True),
    Column("rows", Integer, nullable=False),
    # Rows a second at that size; null where memory ran out.
    Column("rate", Double),
    # `knee`, `memory`, `out of memory`, `time`, `limit`.
    Column("how", String(16), nullable=False),
    Column("found_at", Double, nullable=False),
    Column("worker_id", String(64), nullable=False),
)

#: Messages that no worker could use; the newest `burying.KEPT`.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    # The queue it was in.
    Column("source", String(80), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    # Bytes of the whole message.
    Column("size", BigInteger, nullable=False),
    # The first bytes, escaped.
    Column("head", Text, nullable=False),
    # The whole message, to put it back; null where it was too large.
    Column("body", LargeBinary),
    Column("task_id", String(64)),
    Column("replayed_at", Double),
    sqlite_autoincrement=True,
)

#: Facts about the farm itself, such as its name.
meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
