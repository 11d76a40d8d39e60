"""The records that travel: a task on its way in, in hand, and on its way out.

Knows no SQL, no queue and no model. Times are UTC seconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a task is.

        pending ──▶ queued ──▶ running ──▶ succeeded
           ▲          │           │   ├──▶ failed
           ├──────────┘           │   └──▶ quarantined
           └──────────────────────┘
        pending | queued | running ──▶ cancelled | expired

    No edge leaves a terminal state but an explicit retry, which is a new attempt.
    """

    #: Written down; not yet handed to Redis, or taken back.
    PENDING = "pending"
    #: A message is believed to be in Redis or in a worker's hand.
    QUEUED = "queued"
    #: A worker claimed it and has not reported.
    RUNNING = "running"
    #: One result row exists.
    SUCCEEDED = "succeeded"
    #: The engine refused it, or every attempt was spent.
    FAILED = "failed"
    #: Withdrawn by a person before a result was recorded.
    CANCELLED = "cancelled"
    #: Its deadline passed before it ran.
    EXPIRED = "expired"
    #: It crashed the engine while running alone.
    QUARANTINED = "quarantined"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset(
    {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED, State.QUARANTINED}
)


#: What `ArtifactStore.put` calls a file, which is made of its content.
ARTIFACT_NAME = r"[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,8}"
#: Batch keys that begin so belong to a group of suspects, which has the engine to itself.
ALONE = "alone:"


# Not frozen, as the hint below is not: one is made for every task on its way in, and a frozen
# record takes four times as long to make.
@dataclass(slots=True)
class Task:
    """One request as the producer writes it down."""

    #: `<job>-<index>`, also the id of its Celery message.
    id: str
    job_id: str
    #: Place among the job's inputs, from 0.
    index: int
    #: The user's own name for it; unique in the job.
    custom_id: str
    kind: str
    #: Registry key.
    model: str
    #: Tasks that may share a batch have equal keys.
    batch_key: str
    #: How many rows of a batch it takes (its `n`).
    rows: int
    #: Checked parameters of its kind, defaults filled in; where there are many tasks, as the JSON
    #: object that the store keeps, so that they are encoded once.
    params: Mapping[str, Any] | str
    #: Alone decides the output.
    seed: int
    #: 0 is normal, 9 the most urgent.
    priority: int = 0


@dataclass(slots=True, unsafe_hash=True)
class Hint:
    """What a message says of a task: enough to route and gather, nothing to run. Never changed."""

    task_id: str
    kind: str
    model: str
    batch_key: str
    rows: int
    priority: int = 0
    #: It was begun before, so it goes before those that were not.
    is_redo: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that a worker holds the right to run."""

    task_id: str
    job_id: str
    #: The fence: a later claim has a higher number, and this one's writes then miss.
    attempt: int
    kind: str
    model: str
    batch_key: str
    rows: int
    params: Mapping[str, Any]
    seed: int
    #: Its group, when it was in hand as an engine crashed and must run apart from others.
    suspect: str | None = None
    #: Contents of the files that its parameters name (`Params.files`), by parameter. Filled in
    #: between the claim and the engine.
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a task produced, named by its content."""

    #: Place below the farm's artefact store, `ab/abcdef….png`.
    name: str
    sha256: str
    #: Size in bytes.
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task has no result."""

    #: Stable, for programs; see `errors.ItemError`.
    code: str
    #: For people: what, and what to do next.
    message: str
    #: Whether another attempt could help.
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recorded for one attempt: an output, or the reason there is none."""

    task_id: str
    attempt: int
    #: JSON-ready output of the kind; None when it failed.
    output: Mapping[str, Any] | None = None
    artifacts: Sequence[Artifact] = ()
    failure: Failure | None = None
    #: Seconds on the engine, size of the batch, and the like.
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stands in the store."""

    id: str
    kind: str
    model: str
    #: Parameters common to its inputs, as the user gave them.
    params: Mapping[str, Any]
    created_at: float
    #: The name, or the digest of the content; None for a nameless stream.
    identity: str | None = None
    name: str | None = None
    priority: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: None while inputs are still being written.
    total: int | None = None
    #: Whether its tasks may be dispatched already.
    released: bool = False
    #: No task of it starts after that time.
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as it stands in the store, with its result where it has one."""

    id: str
    job_id: str
    index: int
    custom_id: str
    kind: str
    model: str
    params: Mapping[str, Any]
    seed: int
    state: State
    attempt: int
    created_at: float
    worker_id: str | None = None
    claimed_at: float | None = None
    finished_at: float | None = None
    reason_code: str | None = None
    reason: str | None = None
    output: Mapping[str, Any] | None = None
    artifacts: Sequence[Artifact] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many rows a batch has on devices of one kind."""

    model: str
    #: Empty: the size of the model's batches. Else where memory ran out: tasks, at most.
    batch_key: str
    #: `cpu:<processor>x<threads>`, or the GPU's name.
    device: str
    #: What else it holds for: torch's version, the precision, the model's source.
    build: str
    rows: int
    #: `knee`: twice as many gain next to nothing. `memory`: twice as many would not fit.
    #: `out of memory`: more did not. `time`: there was none to try more. `limit`: it is the
    #: most that a registry may name.
    how: str
    worker_id: str
    #: Rows a second at that size; None where memory ran out.
    rate: float | None = None
    #: The store's time.
    found_at: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker as it last described itself."""

    id: str
    #: Celery node name, `gpu0@host`.
    node: str
    host: str
    pid: int
    device: str
    #: `alive`, `draining`, `stopped` or `dead`.
    state: str
    #: What it serves: `key`, `kind`, `default`, `description` of each model.
    models: Sequence[Mapping[str, Any]]
    version: str
    started_at: float
    beat_at: float
    #: Name of its process, see `liveness.py`.
    process: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    ended_at: float | None = None
    reason: str | None = None
