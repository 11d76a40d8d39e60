"""A chain: a light handle on items that pass several stages, one after the other.

Each stage is a job like any other: `chain.stage("draw")`. Knows no SQL, and
moves nothing: the farm does that, whether this process lives or not.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from genfarm import page
from genfarm.following import Ordered, Unordered, follow
from genfarm.job import NO_END, Job
from genfarm.link import Link
from genfarm.result import Errors, Result, check_errors, make_result, sift
from genfarm.retrying import RETRIED, Which
from genfarm.status import JobStatus
from genfarm_shared.chains import CUT_OFF, ChainRecord, Plan
from genfarm_shared.errors import GenfarmError, ItemError, ItemTimeout
from genfarm_shared.offspring import trace
from genfarm_shared.tasks import State, TaskRecord

if TYPE_CHECKING:  # Pillow is loaded by the first contact sheet
    from PIL.Image import Image

    from genfarm.sheet import Table


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """How a chain stands."""

    #: Of each stage, by its name.
    stages: Mapping[str, JobStatus]

    @property
    def is_done(self) -> bool:
        return all(status.is_done for status in self.stages.values())

    @property
    def failed(self) -> int:
        """Rows of the last stage that ended without a result, whichever stage was the reason."""
        return list(self.stages.values())[-1].failed


@dataclass(frozen=True, slots=True)
class ChainResult(Result):
    """How an item came out of the last stage; `stages` says how it came there."""

    _trail: "_Trail | None" = field(default=None, repr=False, compare=False)

    @property
    def stages(self) -> dict[str, Result]:
        """Its result in every stage that it reached, by name, in order. Reads the store."""
        assert self._trail is not None, "a result made by hand has no stages. This is a bug."  # noqa: S101
        return self._trail.results()


@dataclass(frozen=True, slots=True)
class _Trail:
    """Where an item came through."""

    link: Link
    chain_id: str
    plan: Plan
    record: TaskRecord

    def results(self) -> dict[str, Result]:
        last = len(self.plan.steps) - 1
        found = trace(self.link.store, self.chain_id, self.plan, self.record, last)
        names = {stage: step.name for stage, step in enumerate(self.plan.steps)}
        files = self.link.artifacts
        return {names[stage]: make_result(found[stage], files) for stage in sorted(found)}


class Chain:
    """Items that pass several stages. Light, printable, picklable by its id and its farm."""

    def __init__(self, link: Link, record: ChainRecord, *, progress: bool | None = None) -> None:
        self._link = link
        self._record = record
        self._plan = record.plan
        self._progress = progress

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def name(self) -> str | None:
        return self._record.name

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._record.metadata

    @property
    def created_at(self) -> float:
        """UTC seconds since the epoch."""
        return self._record.created_at

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in order."""
        return tuple(step.name for step in self._plan.steps)

    def stage(self, which: int | str) -> Job:
        """The job of one stage, by its place or name. Raises LookupError."""
        if isinstance(which, str):
            if which not in self.stages:
                raise KeyError(f"no stage {which!r}; the stages are {', '.join(self.stages)}")
            which = self.stages.index(which)
        record = self._link.store.find_job(self._record.job_ids[which])
        return Job(self._link, record, progress=self._progress)

    def status(self) -> ChainStatus:
        """How every stage stands now. Raises Unreachable."""
        return ChainStatus({name: self.stage(name).status() for name in self.stages})

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> "Chain":
        """Return when every stage of every item has ended, well or not.

        Raises ItemTimeout after `timeout` seconds; the chain goes on.
        """
        show = self._progress if progress is None else progress
        until = None if timeout is None else time.monotonic() + timeout
        for name in self.stages:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            try:
                self.stage(name).wait(left, progress=show)
            except ItemTimeout:
                said = f"chain {self._called} has not ended after {timeout:g} s"
                raise ItemTimeout(f"{said}; it goes on: call again, or wait longer") from None
        return self

    def results(
        self,
        *,
        ordered: bool = False,
        errors: Errors = "return",
        start: int = 0,
        end: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[ChainResult]:
        """The last stage's result of each item, while the chain runs; as of `Job.results`.

        An item that ended in an earlier stage comes with the error that says which.
        """
        check_errors(errors)
        span = range(start, NO_END if end is None else end)
        return self._results(span, ordered, errors, timeout)

    def errors(self) -> list[ItemError]:
        """Why items have no result so far: the stage where each ended, and no later one."""
        found = [error for name in self.stages for error in self.stage(name).errors()]
        return [error for error in found if error.code != CUT_OFF]

    def retry(self, which: Which = "failed") -> int:
        """Run tasks of every stage again that ended without a result, and what they kept from
        running; returns how many tasks. A cancelled chain goes on with `"cancelled"` or `"all"`;
        after `"failed"` the stages that follow stay withdrawn. Raises Unreachable before anything
        is changed."""
        if which not in RETRIED:
            raise ValueError(f"which={which!r}: expected one of {', '.join(RETRIED)}")
        self._link.check_broker()
        store = self._link.store
        if State.CANCELLED in RETRIED[which]:
            store.reopen_chain(self._record)
        number = sum(store.retry(job_id, RETRIED[which]) for job_id in self._record.job_ids)
        self._link.hand_on()
        return number

    def cancel(self) -> int:
        """Withdraw every task that has not ended, in all stages; returns how many.

        What was still to come ends too, as soon as a worker's keeper has looked.
        """
        store = self._link.store
        store.withdraw_chain(self.id)
        return sum(store.cancel(job_id) for job_id in self._record.job_ids)

    def save(self, dest: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write every stage into a folder of its name below `dest`, as `Job.save` does, waiting
        for what still runs. Raises FileExistsError unless `overwrite`."""
        for name in self.stages:
            self.stage(name).save(Path(dest) / name, overwrite=overwrite)
        return Path(dest)

    def show(self, n: int = 64, *, cols: int | None = None, size: int = 128) -> "Image | Table":
        """The first `n` results of the last stage so far, as `Job.show` does."""
        return self.stage(-1).show(n, cols=cols, size=size)

    def __iter__(self) -> Iterator[ChainResult]:
        """Results in the order asked for; raises at the first item without one."""
        return self.results(ordered=True, errors="raise")

    def __len__(self) -> int:
        """Rows of the last stage."""
        return len(self.stage(-1))

    def __repr__(self) -> str:
        lines = [f"Chain {self._called}" + (f" ({self.id})" if self.name else "")]
        try:
            lines += [f"  {' · '.join(row)}" for row in self._rows()]
        except GenfarmError as error:  # a handle must print whatever the farm is doing
            lines.append(f"  ({type(error).__name__})")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return page.table(("stage", "kind", "model", self._called), self._rows())

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (find_chain, (self._link, self.id))

    @property
    def _called(self) -> str:
        return self.name or self.id

    def _rows(self) -> list[tuple[str, str, str, str]]:
        status = self.status().stages
        return [
            (step.name, step.kind, step.model, page.summary(status[step.name]))
            for step in self._plan.steps
        ]

    def _results(
        self, span: range, ordered: bool, errors: Errors, timeout: float | None
    ) -> Iterator[ChainResult]:
        store = self._link.store
        job = store.find_job(self._record.job_ids[-1])
        reader = (Ordered if ordered else Unordered)(store, job.id, span.start)
        for record in follow(store, job, reader, span, timeout):
            for result in sift(make_result(record, self._link.artifacts), errors):
                trail = _Trail(self._link, self.id, self._plan, record)
                known = {f.name: getattr(result, f.name) for f in fields(Result)}
                yield ChainResult(**known, _trail=trail)


def find_chain(link: Link, id_or_name: str, progress: bool | None = None) -> Chain:
    """The chain of that id or name. Raises NotFound."""
    return Chain(link, link.store.find_chain(id_or_name), progress=progress)


def list_chains(link: Link, limit: int, progress: bool | None = None) -> list[Chain]:
    """The newest chains first."""
    return [Chain(link, record, progress=progress) for record in link.store.list_chains(limit)]
