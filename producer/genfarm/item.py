"""One task as a future: works wherever `concurrent.futures` and asyncio take one.

Resolved by the farm's watcher. Knows no job and no input.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError

from genfarm.link import Link
from genfarm.live import Progress, looks, pieces
from genfarm.result import Result, make_error, make_result
from genfarm.retrying import hint
from genfarm_shared.errors import ItemCancelled, ItemError, ItemTimeout
from genfarm_shared.tasks import State, TaskRecord


class Item(Future[Result]):
    """One task. `result()` gives its Result or raises the ItemError it ended with.

    Safe for many threads. A future of a closed farm raises GenfarmError; the
    task itself goes on.
    """

    def __init__(self, link: Link, job_id: str, index: int, custom_id: str) -> None:
        super().__init__()
        self.id = f"{job_id}-{index}"
        self.job_id = job_id
        self.index = index
        self.custom_id = custom_id
        self._link = link
        self._ended: State | None = None
        self._may_notify = threading.Lock()

    @property
    def state(self) -> State:
        """Where the task is now, from the store unless it has ended. Raises Unreachable."""
        if self._ended is not None:
            return self._ended
        records = self._link.store.read_tasks([self.id])
        return records[0].state if records else State.PENDING

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the result, at most `timeout` seconds.

        Raises ItemTimeout (the task goes on), ItemFailed, ItemCancelled or ItemExpired.
        """
        try:
            return super().result(timeout)
        except ItemError:
            raise
        except CancelledError:
            raise self._cancelled() from None
        except TimeoutError:
            raise self._late(timeout) from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error that `result` would raise, None if there is none; raises as it for the rest."""
        try:
            return super().exception(timeout)
        except CancelledError:
            raise self._cancelled() from None
        except TimeoutError:
            raise self._late(timeout) from None

    def stream(self, timeout: float | None = None) -> Iterator[str]:
        """Its first text as it is written: pieces, which together are `result().text`.

        Raises as `result` does. Where nothing can be heard of a running task, because the
        broker is away or its engine tells nothing, the text comes in one piece at its end.
        """
        return pieces(self, self._link, timeout)

    def watch(self, timeout: float | None = None) -> Iterator[Progress]:
        """How far it is, up to ten times a second: `done` of `total`, `text` and `preview`.

        The last is the result, and the only one where nothing can be heard. Raises as
        `result` does.
        """
        return looks(self, self._link, timeout)

    def cancel(self) -> bool:
        """Withdraw the task, even a running one; False when it had ended already."""
        if self.done():
            return self.cancelled()
        if not self._link.store.cancel(self.job_id, [self.id]):
            return False
        self._ended = State.CANCELLED
        self._mark_cancelled()
        return True

    def settle(self, record: TaskRecord) -> None:
        """The watcher's word that the task has ended."""
        self._ended = record.state
        # A cancel on another thread may have come first.
        with contextlib.suppress(InvalidStateError):
            if record.state is State.SUCCEEDED:
                self.set_result(make_result(record, self._link.artifacts))
            elif record.state is State.CANCELLED:
                self._mark_cancelled()
            else:
                self.set_exception(make_error(record))

    def abandon(self, error: Exception) -> None:
        """The watcher's word that nobody watches any more."""
        with contextlib.suppress(InvalidStateError):
            self.set_exception(error)

    def __repr__(self) -> str:
        ended = self._ended.value if self._ended is not None else "not ended yet"
        return f"Item {self.custom_id} ({self.id})  {ended}"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (unpickled_item, (self._link, self.job_id, self.index, self.custom_id))

    def _mark_cancelled(self) -> None:
        # The second of two calls for one future would be logged as critical by the library.
        if self._may_notify.acquire(blocking=False) and super().cancel():
            self.set_running_or_notify_cancel()  # wakes `wait` and `as_completed`

    def _cancelled(self) -> ItemCancelled:
        return ItemCancelled(
            f"task {self.custom_id} of job {self.job_id} was cancelled; "
            f"`{hint({State.CANCELLED: 1})}` runs it after all",
            code="cancelled",
            custom_id=self.custom_id,
        )

    def _late(self, timeout: float | None) -> ItemTimeout:
        return ItemTimeout(
            f"task {self.custom_id} of job {self.job_id} has not ended after {timeout:g} s; "
            "it goes on: wait longer, or cancel() it",
            code="timeout",
            custom_id=self.custom_id,
        )


def watched_items(link: Link, records: Iterable[TaskRecord]) -> list[Item]:
    """Those tasks as futures: resolved when they have ended, watched until they do."""
    items: list[Item] = []
    open_items: list[Item] = []
    for record in records:
        item = Item(link, record.job_id, record.index, record.custom_id)
        items.append(item)
        if record.state.is_terminal:
            item.settle(record)
        else:
            open_items.append(item)
    if open_items:
        link.watcher.watch(open_items)
    return items


def unpickled_item(link: Link, job_id: str, index: int, custom_id: str) -> Item:
    """The future of one task that was unpickled."""
    item = Item(link, job_id, index, custom_id)
    link.watcher.watch([item])
    return item
