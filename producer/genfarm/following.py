"""Reading a job's ended tasks while it runs: each once, with memory that does not grow.

A bit per task remembers what was given out. Knows the store's reading verbs
and the passing of time; nothing of results.
"""

import time
from collections.abc import Iterator

from genfarm_shared.errors import ItemTimeout
from genfarm_shared.store import Store
from genfarm_shared.store.reading import OVERLAP
from genfarm_shared.tasks import TERMINAL, JobRecord, TaskRecord

#: Records per statement: the first, and the most.
FIRST_PAGE, LONGEST_PAGE = 16, 500
#: Seconds between two looks: after news, and when there is none.
SHORTEST, LONGEST = 0.02, 0.25
#: Seconds without news after which the job is looked over for what was missed.
QUIET = 2.0


class Pacer:
    """How long to wait before the next look: briefly after news, longer without."""

    def __init__(self, timeout: float | None, what: str) -> None:
        self._give_up = None if timeout is None else time.monotonic() + timeout
        self._said = f"{what} after {timeout:g} s" if timeout is not None else ""
        self._pause = SHORTEST

    def hear(self) -> None:
        """There was news: look again soon."""
        self._pause = SHORTEST

    def rest(self, cost: float = 0.0) -> None:
        """Sleep. `cost` is what the last look took, seconds.

        Raises ItemTimeout once the time given is over.
        """
        # 20: so that looking takes at most a twentieth of the store's time.
        pause = max(self._pause, 20 * cost)
        self._pause = min(self._pause * 1.5, LONGEST)
        if self._give_up is not None:
            left = self._give_up - time.monotonic()
            if left <= 0:
                raise ItemTimeout(f"{self._said}; it goes on: call again, or wait longer")
            pause = min(pause, left)
        time.sleep(pause)


class Ordered:
    """Ended tasks in the order asked for; waits for the first that has not ended."""

    def __init__(self, store: Store, job_id: str, start: int = 0) -> None:
        self._store = store
        self._job_id = job_id
        self._next = start
        self._page = FIRST_PAGE

    def poll(self) -> list[TaskRecord]:
        """What has ended since the last call, up to the first gap; never waits."""
        records = self._store.read_after(self._job_id, self._next - 1, self._page)
        ready: list[TaskRecord] = []
        for record in records:
            if record.state not in TERMINAL or record.index != self._next:
                break
            ready.append(record)
            self._next += 1
        # Grow while all is ready; a long page of unfinished tasks would be read in vain.
        is_behind = len(ready) == self._page
        self._page = min(self._page * 4, LONGEST_PAGE) if is_behind else FIRST_PAGE
        return ready


class Unordered:
    """Ended tasks in about the order they ended."""

    def __init__(self, store: Store, job_id: str, start: int = 0) -> None:
        self._store = store
        self._job_id = job_id
        self._start = start
        self._given = bytearray()
        self._since = 0.0
        self._last_id = ""
        self._looked_back = time.monotonic()
        self._heard = self._looked_back

    def poll(self) -> list[TaskRecord]:
        """What has ended since the last call; never waits."""
        now = time.monotonic()
        if now - self._looked_back > OVERLAP:
            # A transaction may show later than one that ended after it.
            self._looked_back = now
            self._since, self._last_id = self._since - OVERLAP, ""
        ready = self._go_on()
        if ready:
            self._heard = now
        elif now - self._heard > QUIET:
            self._heard = now
            ready = self._missed()
        return ready

    def _go_on(self) -> list[TaskRecord]:
        """The next new records; skips pages that hold none."""
        while True:
            page = self._store.read_ended(
                self._job_id, self._since, LONGEST_PAGE, last_id=self._last_id
            )
            if page and page[-1].finished_at is not None:
                self._since, self._last_id = page[-1].finished_at, page[-1].id
            ready = [record for record in page if self._is_new(record)]
            if ready or len(page) < LONGEST_PAGE:
                return ready

    def _missed(self) -> list[TaskRecord]:
        """Ended tasks that the clocks hid: looked for by index when all is quiet."""
        page = self._store.read_after(
            self._job_id, self._first_missing() - 1, LONGEST_PAGE, states=TERMINAL
        )
        return [record for record in page if self._is_new(record)]

    def _first_missing(self) -> int:
        for place, byte in enumerate(self._given):
            if byte != 0xFF:
                return self._start + place * 8
        return self._start + len(self._given) * 8

    def _is_new(self, record: TaskRecord) -> bool:
        """Whether this is its first time; notes it."""
        place, bit = divmod(record.index - self._start, 8)
        if place < 0:
            return False
        if place >= len(self._given):
            self._given.extend(bytes(place + 1 - len(self._given)))
        is_new = not self._given[place] >> bit & 1
        self._given[place] |= 1 << bit
        return is_new


def follow(
    store: Store,
    job: JobRecord,
    reader: Ordered | Unordered,
    span: range,
    timeout: float | None = None,
) -> Iterator[TaskRecord]:
    """Every task of the job whose index is in `span`, as it ends.

    Raises ItemTimeout, `timeout` seconds after the first call.
    """
    pacer = Pacer(timeout, f"job {job.name or job.id} has given no further result")
    given = 0
    while True:
        ready = [record for record in reader.poll() if record.index in span]
        yield from ready
        given += len(ready)
        if not ready and job.total is None:
            job = store.find_job(job.id)
        if job.total is not None and given >= len(range(span.start, min(span.stop, job.total))):
            return
        if ready:
            pacer.hear()
        else:
            pacer.rest()
