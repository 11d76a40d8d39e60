"""A job: a light handle on what the store knows of it.

Knows no SQL and no queue. What it writes to disk and draws is in `export.py`,
`sheet.py` and `page.py`.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from genfarm import page
from genfarm.following import Ordered, Unordered, follow
from genfarm.item import Item, watched_items
from genfarm.link import Link
from genfarm.result import Errors, Result, check_errors, make_error, make_result, sift
from genfarm.retrying import RETRIED, Which
from genfarm.status import JobStatus, await_end, read_status
from genfarm_shared.errors import GenfarmError, ItemError
from genfarm_shared.tasks import JobRecord, State, TaskRecord

if TYPE_CHECKING:  # Pillow is loaded by the first contact sheet
    from PIL.Image import Image

    from genfarm.evaluation import Evaluation
    from genfarm.sheet import Table

#: Records or ids per statement.
PAGE = 1000
#: An open end of a job whose number of inputs is not known yet.
NO_END = sys.maxsize


class Job:
    """Tasks submitted together. Light, printable, picklable by its id and its farm's address."""

    def __init__(self, link: Link, record: JobRecord, *, progress: bool | None = None) -> None:
        self._link = link
        self._record = record
        self._progress = progress

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def name(self) -> str | None:
        return self._record.name

    @property
    def kind(self) -> str:
        return self._record.kind

    @property
    def model(self) -> str:
        return self._record.model

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._record.metadata

    @property
    def created_at(self) -> float:
        """UTC seconds since the epoch."""
        return self._record.created_at

    @property
    def total(self) -> int | None:
        """How many inputs it has; None while they are still being written."""
        if self._record.total is None:
            self._record = self._link.store.find_job(self.id)
        return self._record.total

    def status(self) -> JobStatus:
        """How it stands now. Raises Unreachable."""
        return read_status(self._link.store, self._record)

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> "Job":
        """Return when every task has ended, well or not; never raises for the tasks.

        Raises ItemTimeout after `timeout` seconds; the job goes on.
        """
        show = self._progress if progress is None else progress
        await_end(self._link.store, self._record, timeout, show)
        return self

    def results(
        self,
        *,
        ordered: bool = False,
        errors: Errors = "return",
        start: int = 0,
        end: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Result]:
        """Each result once, while the job runs: as they end, or in the order asked for.

        `start` and `end` bound the index. A task without a result is returned
        with its error, skipped, or raised (the job goes on). Raises ItemTimeout
        `timeout` seconds after the first was asked for.
        """
        check_errors(errors)
        span = range(start, NO_END if end is None else end)
        return self._results(span, ordered, errors, timeout)

    def items(self) -> list[Item]:
        """Every task as a future; those that have ended are resolved already."""
        return watched_items(self._link, self._records())

    def errors(self) -> list[ItemError]:
        """Why tasks have no result, so far."""
        return [make_error(record) for record in self._records(RETRIED["all"])]

    def raise_for_errors(self) -> None:
        """Raise an ExceptionGroup of every ItemError so far, if there is any."""
        errors = self.errors()
        if errors:
            message = f"{len(errors)} of {self.total} tasks of job {self._called} have no result"
            raise ExceptionGroup(message, errors)

    def retry(self, which: Which | Sequence[str] = "failed") -> int:
        """Run tasks again that ended without a result; returns how many.

        `which` is a word or a list of custom_ids. Raises Unreachable before
        anything is changed.
        """
        self._link.check_broker()
        store = self._link.store
        if isinstance(which, str):
            if which not in RETRIED:
                raise ValueError(
                    f"which={which!r}: expected one of {', '.join(RETRIED)} or a list of custom_ids"
                )
            number = store.retry(self.id, RETRIED[which])
        else:
            parts = [list(which[i : i + PAGE]) for i in range(0, len(which), PAGE)]
            number = sum(store.retry(self.id, RETRIED["all"], part) for part in parts)
        self._link.hand_on()
        return number

    def cancel(self) -> int:
        """Withdraw every task that has not ended, running ones too; returns how many."""
        return self._link.store.cancel(self.id)

    def save(self, dest: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the results below the folder `dest`, waiting for what still runs.

        Pictures become a Hugging Face ImageFolder (`images/`, `metadata.jsonl`),
        other outputs `results.jsonl`; failures go to `errors.jsonl`. A `dest`
        that ends in .jsonl gets one line per task instead. Raises
        FileExistsError unless `overwrite`.
        """
        from genfarm.export import save_job

        return save_job(self, Path(dest), overwrite=overwrite)

    def show(self, n: int = 64, *, cols: int | None = None, size: int = 128) -> "Image | Table":
        """The first `n` results so far: pictures as one sheet, anything else as a table.

        `size` is a picture's longer edge in pixels. Never waits.
        """
        from genfarm.sheet import show_results

        records = self._link.store.read_after(self.id, -1, n, states={State.SUCCEEDED})
        return show_results([make_result(r, self._link.artifacts) for r in records], cols, size)

    def evaluate(
        self,
        against: str | os.PathLike[str] | None = None,
        *,
        model: str | None = None,
        inception: str | os.PathLike[str] | None = None,
    ) -> "Evaluation":
        """Judge the quality of what has succeeded so far; needs torch where it is called.

        `against` is what is real: "digits", or a folder of pictures, and for
        texts a file with one a line. `model` is the registry key of the
        language model that judges texts, `inception` a safetensors file of
        Inception-v3. Raises InvalidTask, MissingExtra, ModelUnavailable.
        """
        from genfarm.evaluation import evaluate_results

        records = self._records({State.SUCCEEDED})
        results = (make_result(record, self._link.artifacts) for record in records)
        return evaluate_results(self._called, results, against, model, inception)

    def __iter__(self) -> Iterator[Result]:
        """Results in the order asked for; raises at the first task without one."""
        return self.results(ordered=True, errors="raise")

    def __len__(self) -> int:
        total = self.total
        return total if total is not None else sum(self.status().counts.values())

    def __getitem__(self, which: int | str) -> Item:
        """The task of that index or custom_id. Raises IndexError or NotFound."""
        store = self._link.store
        if isinstance(which, str):
            return watched_items(self._link, [store.find_task(self.id, which)])[0]
        index = which + len(self) if which < 0 else which
        records = store.read_tasks([f"{self.id}-{index}"])
        if not records:
            raise IndexError(f"job {self._called} has no task {which}; it has {len(self)}")
        return watched_items(self._link, records)[0]

    def __repr__(self) -> str:
        head = f"Job {self._called}" + (f" ({self.id})" if self.name else "")
        try:
            told = page.summary(self.status())
        except GenfarmError as error:  # a handle must print whatever the farm is doing
            told = f"({type(error).__name__})"
        return f"{head}  {self.kind} · {self.model}  {told}"

    def _repr_html_(self) -> str:
        return page.job_card(self._record, self.status(), self._link.address.flower_url)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (find_job, (self._link, self.id))

    @property
    def _called(self) -> str:
        return self.name or self.id

    def _results(
        self, span: range, ordered: bool, errors: Errors, timeout: float | None
    ) -> Iterator[Result]:
        reader = (Ordered if ordered else Unordered)(self._link.store, self.id, span.start)
        for record in follow(self._link.store, self._record, reader, span, timeout):
            yield from sift(make_result(record, self._link.artifacts), errors)

    def _records(self, states: Set[State] | None = None) -> Iterator[TaskRecord]:
        """Every task in order, or those in some states."""
        index = -1
        while records := self._link.store.read_after(self.id, index, PAGE, states=states):
            yield from records
            index = records[-1].index


def find_job(link: Link, id_or_name: str, progress: bool | None = None) -> Job:
    """The job of that id or name. Raises NotFound."""
    return Job(link, link.store.find_job(id_or_name), progress=progress)
