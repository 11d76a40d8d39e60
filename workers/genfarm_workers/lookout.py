"""What the engine process tells of the tasks that somebody watches: no more often than it pays.

A look asks the engines between two device calls, so its cost is theirs. Knows
no queue and no network; who watches stands in `showing.py`, on the other side
of the pipe.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

from genfarm_workers.engines import Glimpse
from genfarm_workers.engines.resident import Resident
from genfarm_workers.pipe import Pipe

#: Seconds between two looks, at least: as fast as a person reads.
PAUSE = 0.1
#: A look is followed by so many times its own length without one, so that whoever watches takes
#: a tenth of the engine's time at most.
SHARE = 9
#: Seconds and bytes of pixels after which a look leaves the rest to the next.
LOOK_SECONDS = 0.02
LOOK_BYTES = 4 << 20


class Lookout:
    """All calls come from the loop's thread, `show` also from within an engine's step."""

    def __init__(self, pipe: Pipe, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipe = pipe
        self._clock = clock
        #: Ids of the watched tasks, in the order of their next look.
        self._turns: deque[str] = deque()
        #: What was last told of each: done, and characters of text.
        self._told: dict[str, tuple[int, int]] = {}
        self._look_at = 0.0

    def aim(self, task_ids: Collection[str]) -> None:
        """Those are watched from now on, and no others."""
        self._turns = deque(task_ids)
        self._told = {key: self._told[key] for key in task_ids if key in self._told}

    def wakes_at(self) -> float | None:
        """When `show` is next worth calling, None while nobody watches."""
        return self._look_at if self._turns else None

    def show(self, residents: Iterable[Resident]) -> None:
        """Send what is new of the watched tasks, if a look is due."""
        if not self._turns or (began := self._clock()) < self._look_at:
            return
        glimpses = self._look(list(residents), began)
        if glimpses:
            self._pipe.send_glimpses(glimpses)
        ended = self._clock()
        self._look_at = ended + max(PAUSE, SHARE * (ended - began))

    def _look(self, residents: Collection[Resident], began: float) -> list[Glimpse]:
        glimpses: list[Glimpse] = []
        size = 0
        for task_id in list(self._turns):
            self._turns.rotate(-1)
            for resident in residents:
                for glimpse in resident.glimpses([task_id]):
                    if self._is_news(glimpse):
                        glimpses.append(glimpse)
                        size += len(glimpse.picture.rgb) if glimpse.picture is not None else 0
            if size > LOOK_BYTES or self._clock() - began > LOOK_SECONDS:
                break
        return glimpses

    def _is_news(self, glimpse: Glimpse) -> bool:
        """Whether it tells more than the last of its task; notes it."""
        told = (glimpse.done, len(glimpse.text))
        is_news = self._told.get(glimpse.task_id) != told
        self._told[glimpse.task_id] = told
        return is_news
