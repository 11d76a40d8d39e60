"""What a submission says of itself, and the job that this makes it.

Holds the rule of names: the same name or the same content is the same job.
Writes no task.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from genfarm.batchfile import Source
from genfarm.drafting import Order, conflict
from genfarm.link import Link
from genfarm.room import WhenFull
from genfarm_shared.errors import InvalidTask, JobConflict
from genfarm_shared.tasks import JobRecord

OnConflict = Literal["resume", "new", "error"]

#: Longest name, in characters: the width of its column.
MAX_NAME = 200
#: Begins the identity of a job that has no name.
CONTENT = "sha256:"


@dataclass(frozen=True, slots=True)
class Label:
    """What a submission says of itself."""

    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: UTC seconds since the epoch.
    deadline: float | None = None
    on_conflict: OnConflict = "resume"
    #: What to do while the farm has no room; None: a generator waits, anything else raises.
    when_full: WhenFull | None = None
    #: The id that its job is to have, which is then its identity too; None: a new one.
    job_id: str | None = None

    def check(self) -> None:
        """Raise InvalidTask for a name, metadata or a rule that cannot be."""
        name = self.name
        if name is not None and (
            not isinstance(name, str)
            or not 1 <= len(name) <= MAX_NAME
            or not name.isprintable()
            or name.startswith(CONTENT)
        ):
            raise InvalidTask(
                f"name={name!r}: expected 1 to {MAX_NAME} printable characters that do not begin "
                f"with {CONTENT!r}",
                param="name",
            )
        if not _is_text_map(self.metadata):
            raise InvalidTask(
                f"metadata={self.metadata!r}: expected a mapping of strings to strings",
                param="metadata",
            )
        if self.when_full not in (None, "raise", "wait"):
            raise InvalidTask(
                f"when_full={self.when_full!r}: expected 'raise' or 'wait'", param="when_full"
            )
        if self.on_conflict not in ("resume", "new", "error"):
            raise InvalidTask(
                f"on_conflict={self.on_conflict!r}: expected 'resume', 'new' or 'error'",
                param="on_conflict",
            )


@dataclass(frozen=True, slots=True)
class Request:
    """A submission that can be written."""

    order: Order
    source: Source
    label: Label


def new_id(prefix: str = "job_") -> str:
    """A fresh job id; later ones sort after earlier ones, to the millisecond."""
    return f"{prefix}{time.time_ns() // 1_000_000:x}{secrets.token_hex(3)}"


def identity_of(label: Label, digest: str) -> str | None:
    """What another submission would have in common with this one; None where nothing counts."""
    if label.job_id is not None:
        return label.job_id
    if label.name is None and label.on_conflict == "new":
        return None
    return label.name or f"{CONTENT}{digest}"


def open_job(
    link: Link,
    order: Order,
    label: Label,
    identity: str | None,
    job_id: str,
    *,
    released: bool = False,
) -> tuple[JobRecord, bool]:
    """The job of that identity, and whether this call began it, under that id."""
    wanted = JobRecord(
        id=job_id,
        kind=order.kind.name,
        model=order.model,
        params=dict(order.params),
        created_at=time.time(),
        identity=identity,
        name=label.name,
        priority=order.priority,
        metadata=dict(label.metadata),
        released=released,
        deadline=label.deadline,
    )
    job, is_ours = link.store.open_job(wanted)
    if is_ours or label.on_conflict == "resume":
        _check_head(job, order)
        return job, is_ours
    if label.on_conflict == "error":
        raise JobConflict(
            f"job {job.name or job.id} exists already ({job.id}); pass on_conflict='resume' to "
            "attach to it, or 'new' for a fresh run"
        )
    link.store.disown(job.id)
    return link.store.open_job(wanted)


def _check_head(job: JobRecord, order: Order) -> None:
    name = job.name or job.id
    if job.kind != order.kind.name:
        raise conflict(name, "kind", job.kind, order.kind.name)
    if job.model != order.model:
        raise conflict(name, "model", job.model, order.model)


def _is_text_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(word, str) for pair in value.items() for word in pair
    )
