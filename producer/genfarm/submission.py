"""Writing a job down: whole and checked first where inputs can be read twice, else as they come.

A job that is there already is completed and never written twice. Knows no result.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice

from genfarm.drafting import Digest, check_same, conflict, draft, survey
from genfarm.label import Request, identity_of, new_id, open_job
from genfarm.link import Link
from genfarm.progress import Bar
from genfarm.room import WhenFull
from genfarm_shared.errors import InvalidTask, JobConflict, Unreachable
from genfarm_shared.tasks import JobRecord, Task

#: Tasks written in one transaction, about 30 ms of it on SQLite. Chunks of 10,000 are no faster.
CHUNK = 2000
#: Seconds after which a stream's chunk is written though it is not full, so that a slow
#: generator's first inputs do not wait for its last.
FLUSH_SECONDS = 0.2
#: What an outage in the middle leaves.
_DRAFT = "The job runs whole or not at all; the same call again completes it"


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
    job_id = label.job_id or new_id()
    try:
        seen = survey(order, source, job_id)
    except InvalidTask as error:
        message = f"{error}. Nothing was submitted; correct it and submit again"
        raise InvalidTask(message, param=error.param, index=error.index) from error
    link.check_broker()
    job, is_ours = open_job(link, order, label, identity_of(label, seen.digest), job_id)
    draft_again = partial(draft, order, source, job.id)
    if not is_ours and label.name is not None:
        _compare_all(link, job, draft_again(), seen.total)
    queued: list[Task] = []
    if job.total is None:
        try:
            there = 0 if is_ours else sum(link.store.count([job.id])[job.id].values())
            link.room.take(max(seen.total - there, 0), label.when_full or "raise")
            with Bar(f"submit {label.name or job.id}", seen.total, show=progress, delay=1.0) as bar:
                if is_ours and seen.tasks is not None:
                    queued = _put(link, seen.tasks, bar)
                else:
                    _fill(link, Digest(order), draft_again(), bar, seen.digest)
            link.store.seal(job.id, seen.total)
        except BaseException as error:
            if is_ours:
                with suppress(Unreachable):  # a draft without its seal never runs
                    link.store.discard(job.id)
            if isinstance(error, Unreachable):
                raise Unreachable(f"{error}. {_DRAFT}") from error
            raise
        job = replace(job, total=seen.total, released=True)
    link.hand_on(queued, are_all=len(queued) == seen.total)
    return job


class Stream:
    """A job whose inputs come once: a chunk runs as soon as it is written.

    One thread feeds it. Without a name it is always a new job.
    """

    def __init__(self, link: Link, request: Request) -> None:
        link.check_broker()
        self._link = link
        label = request.label
        identity, job_id = label.job_id or label.name, label.job_id or new_id()
        opened = open_job(link, request.order, label, identity, job_id, released=True)
        self.record, self._is_ours = opened
        self._room = link.room
        self._when_full: WhenFull = label.when_full or "wait"
        self._tasks = draft(request.order, request.source, self.record.id)
        self._settle = request.source.settle
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
            # What an earlier run wrote may have ended: its rows are dispatched as they stand.
            window = self._link.address.window if self._is_ours else 0
            self._settle()
            queued = self._link.store.insert(chunk, window)
            self.written += len(chunk)
            if self.is_done:
                self._link.store.seal(self.record.id, self.written)
                self.record = replace(self.record, total=self.written)
        except BaseException:
            self.abandon()
            raise
        self._link.hand_on(chunk[:queued], are_all=queued == len(chunk))

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
        # Nobody else can have written to a job that no name leads to.
        is_alone = self._is_ours and self.record.identity is None
        there = 0 if is_alone else _check_chunk(self._link, self.record, chunk)
        total, now = self.record.total, self.written + len(chunk)
        if total is not None and (now > total or (self.is_done and now < total)):
            name = self.record.name or self.record.id
            raise conflict(
                name, "the number of inputs", total, f"{now}{'' if self.is_done else '+'}"
            )
        return there


def _compare_all(link: Link, job: JobRecord, tasks: Iterator[Task], total: int) -> None:
    for chunk in _chunks(tasks):
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


def _put(link: Link, tasks: list[Task], bar: Bar) -> list[Task]:
    """Write a draft whose tasks are all at hand; returns those that are queued already.

    A draft that fits into one window: in a longer one, whose seal is further off, keepers would
    miss the messages of what is queued.
    """
    window = link.address.window
    queued: list[Task] = []
    for chunk in _chunks(iter(tasks)):
        number = link.store.insert(chunk, window if len(tasks) <= window else 0)
        queued += chunk[:number]
        bar.move_to(chunk[-1].index + 1)
    return queued


def _fill(link: Link, summing: Digest, tasks: Iterator[Task], bar: Bar, digest: str) -> None:
    """Write every task that is not there yet. Raises InvalidTask if they sum up to another
    digest than before."""
    for chunk in _chunks(tasks):
        for task in chunk:
            summing.add(task)
        link.store.insert(chunk)
        # Of a draft nothing is in Redis, though the call that began it left rows that say so.
        link.store.requeue([task.id for task in chunk])
        bar.move_to(chunk[-1].index + 1)
    if summing.hexdigest() != digest:
        raise InvalidTask("the inputs changed while they were read; nothing was submitted")


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while chunk := list(islice(tasks, CHUNK)):
        yield chunk
