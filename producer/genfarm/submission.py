"""Writing a job down: whole and checked first where inputs can be read twice, else as they come.

Holds the rule of names: the same name or the same content is the same job,
which is completed and never written twice. Knows no result.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from genfarm.batchfile import Source
from genfarm.drafting import Digest, Order, check_same, conflict, draft, survey
from genfarm.link import Link
from genfarm.progress import Bar
from genfarm.room import WhenFull
from genfarm_shared.errors import InvalidTask, JobConflict, Unreachable
from genfarm_shared.tasks import JobRecord, Task

OnConflict = Literal["resume", "new", "error"]

#: Tasks written in one transaction, about 25 ms of it on SQLite.
CHUNK = 1000
#: Seconds after which a stream's chunk is written though it is not full, so that a slow
#: generator's first inputs do not wait for its last.
FLUSH_SECONDS = 0.2
#: Longest name, in characters: the width of its column.
MAX_NAME = 200
#: What an outage in the middle leaves.
_DRAFT = "The job runs whole or not at all; the same call again completes it"
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


def new_id() -> str:
    """A fresh job id; later ones sort after earlier ones, to the millisecond."""
    return f"job_{time.time_ns() // 1_000_000:x}{secrets.token_hex(3)}"


def write(link: Link, request: Request, *, progress: bool | None = None) -> JobRecord:
    """Write a job down to its last input. Raises InvalidTask, JobConflict, Unreachable."""
    if request.source.is_repeatable:
        return _write_whole(link, request, progress)
    stream = Stream(link, request)
    with Bar(f"submit {stream.record.id}", None, show=progress, delay=1.0) as bar:
        while not stream.is_done:
            stream.feed()
            bar.move_to(stream.written)
    return stream.record


def _write_whole(link: Link, request: Request, progress: bool | None) -> JobRecord:
    """Write a job whose inputs can be read twice: all of it, or none.

    Raises InvalidTask before anything is written, JobConflict, Unreachable.
    """
    order, source, label = request.order, request.source, request.label
    try:
        seen = survey(order, source)
    except InvalidTask as error:
        message = f"{error}. Nothing was submitted; correct it and submit again"
        raise InvalidTask(message, param=error.param, index=error.index) from error
    link.check_broker()
    job, is_ours = _open(link, order, label, _identity(label, seen.digest))
    if not is_ours and label.name is not None:
        _compare_all(link, job, order, source, seen.total)
    if job.total is None:
        try:
            there = 0 if is_ours else sum(link.store.count([job.id])[job.id].values())
            link.room.take(max(seen.total - there, 0), label.when_full or "raise")
            with Bar(f"submit {label.name or job.id}", seen.total, show=progress, delay=1.0) as bar:
                digest = _fill(link, job, order, source, bar)
            if digest != seen.digest:
                raise InvalidTask("the inputs changed while they were read; nothing was submitted")
            link.store.seal(job.id, seen.total)
        except BaseException as error:
            if is_ours:
                with suppress(Unreachable):  # a draft without its seal never runs
                    link.store.discard(job.id)
            if isinstance(error, Unreachable):
                raise Unreachable(f"{error}. {_DRAFT}") from error
            raise
        job = replace(job, total=seen.total, released=True)
    link.hand_on()
    return job


class Stream:
    """A job whose inputs come once: a chunk runs as soon as it is written.

    One thread feeds it. Without a name it is always a new job.
    """

    def __init__(self, link: Link, request: Request) -> None:
        link.check_broker()
        self._link = link
        label = request.label
        self.record, self._is_ours = _open(link, request.order, label, label.name, released=True)
        self._room = link.room
        self._when_full: WhenFull = label.when_full or "wait"
        self._tasks = draft(request.order, request.source, self.record.id)
        #: Tasks written or found so far.
        self.written = 0
        self.is_done = False

    def feed(self) -> None:
        """Write and release the next chunk; with the last, seal the job.

        An invalid input, or an error in the generator, cancels what was
        submitted and raises InvalidTask that names the input.
        """
        try:
            chunk = self._next_chunk()
            there = self._check(chunk)
            self._room.take(max(len(chunk) - there, 0), self._when_full)
            self._link.store.insert(chunk)
            self.written += len(chunk)
            if self.is_done:
                self._link.store.seal(self.record.id, self.written)
                self.record = replace(self.record, total=self.written)
        except BaseException:
            self.abandon()
            raise
        self._link.hand_on()

    def abandon(self) -> None:
        """Give up before the last input: cancel what this stream began, and free its name.

        A job that an earlier run began stays as it is.
        """
        self.is_done = True
        if self._is_ours:
            # While the store takes no writes the job stays open under its name, and the error
            # that led here is the one to raise: the same call again completes the job.
            with suppress(Unreachable, JobConflict):
                self._link.store.cancel(self.record.id)
                self._link.store.seal(self.record.id, self.written)
                self._link.store.disown(self.record.id)

    def _next_chunk(self) -> list[Task]:
        chunk: list[Task] = []
        flush_at = time.monotonic() + FLUSH_SECONDS
        # A chunk larger than the farm's limit would wait for ever.
        most = min(CHUNK, self._room.limit)
        while len(chunk) < most and (not chunk or time.monotonic() < flush_at):
            try:
                chunk.append(next(self._tasks))
            except StopIteration:
                self.is_done = True
                break
            except InvalidTask as error:
                message = f"{error}. {self._aftermath()}"
                raise InvalidTask(message, param=error.param, index=error.index) from error
            except Exception as error:
                index = self.written + len(chunk)
                raise InvalidTask(
                    f"the generator of inputs failed at input {index}: {error!r}. "
                    f"{self._aftermath()}",
                    index=index,
                ) from error
        return chunk

    def _aftermath(self) -> str:
        """What becomes of the job when an input is at fault."""
        if self._is_ours:
            return "The inputs before it were cancelled; correct it and submit all again"
        return f"Job {self.record.id}, which an earlier run began, stays as it is"

    def _check(self, chunk: list[Task]) -> int:
        """How many of the chunk an earlier run wrote.

        Raises JobConflict when that wrote other inputs, or another number of them.
        """
        there = _check_chunk(self._link, self.record, chunk)
        total, now = self.record.total, self.written + len(chunk)
        if total is not None and (now > total or (self.is_done and now < total)):
            name = self.record.name or self.record.id
            raise conflict(
                name, "the number of inputs", total, f"{now}{'' if self.is_done else '+'}"
            )
        return there


def _is_text_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(word, str) for pair in value.items() for word in pair
    )


def _identity(label: Label, digest: str) -> str | None:
    if label.name is None and label.on_conflict == "new":
        return None
    return label.name or f"{CONTENT}{digest}"


def _open(
    link: Link, order: Order, label: Label, identity: str | None, *, released: bool = False
) -> tuple[JobRecord, bool]:
    """The job of that identity, and whether this call began it."""
    wanted = JobRecord(
        id=new_id(),
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


def _compare_all(link: Link, job: JobRecord, order: Order, source: Source, total: int) -> None:
    for chunk in _chunks(draft(order, source, job.id)):
        _check_chunk(link, job, chunk)
    if job.total not in (None, total):
        raise conflict(job.name or job.id, "the number of inputs", job.total, total)


def _check_chunk(link: Link, job: JobRecord, chunk: list[Task]) -> int:
    """How many tasks are written from the chunk's first on. Raises JobConflict for another's."""
    if not chunk:
        return 0
    records = link.store.read_after(job.id, chunk[0].index - 1, len(chunk))
    check_same(job.name or job.id, chunk, records)
    return len(records)


def _fill(link: Link, job: JobRecord, order: Order, source: Source, bar: Bar) -> str:
    """Write every task that is not there yet; returns the digest of all."""
    summing = Digest(order)
    for chunk in _chunks(draft(order, source, job.id)):
        for task in chunk:
            summing.add(task)
        link.store.insert(chunk)
        bar.move_to(chunk[-1].index + 1)
    return summing.hexdigest()


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while chunk := list(islice(tasks, CHUNK)):
        yield chunk
