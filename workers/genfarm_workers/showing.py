"""Shows watched tasks: asks Redis who is watched, and passes on what the engine tells of them.

On a thread and a connection of its own, so that neither the lease nor the
recording of results ever waits for somebody who only looks. It keeps the newest
of each task alone; the rest is lost, and no result depends on it.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from genfarm_shared.errors import Unreachable
from genfarm_shared.live import MOST_WATCHED, Live, Sight
from genfarm_shared.tasks import Claim
from genfarm_workers.engines import Glimpse, Picture

log = logging.getLogger(__name__)

#: Seconds between two questions who is watched. While nobody is, that is one short command of
#: 0.15 ms; with a thousand tasks in hand and somebody watching any, it is 10 ms, hence the second:
#: the share of a processor that asking takes at most.
ASK = 0.25
ASK_SHARE = 0.02
#: Seconds for which Redis is left alone after it did not answer.
OUTAGE = 5.0
#: Pixels of the longer side of a picture on its way, and its JPEG quality: some 10 KiB.
SIDE, QUALITY = 256, 70


@dataclass(frozen=True, slots=True)
class Seen:
    """What an engine told, and of which attempt."""

    attempt: int
    glimpse: Glimpse


class Gaze:
    """Which tasks an engine is to tell of, and the way of what it tells. Thread-safe."""

    def __init__(self) -> None:
        #: Takes what the engine tells; must not block.
        self.on_seen: Callable[[Sequence[Seen]], None] | None = None
        self._lock = threading.Lock()
        self._watched: list[str] = []
        #: What the engine process of that pid was told last.
        self._told: list[str] = []
        self._pid = 0

    def aim(self, task_ids: Sequence[str]) -> bool:
        """Those tasks are watched, and no others; returns whether that is news."""
        with self._lock:
            self._watched = list(task_ids)
            return self._watched != self._told

    def news(self, pid: int) -> list[str] | None:
        """What that engine process is to be told now, if anything."""
        with self._lock:
            told = self._told if pid == self._pid else []
            self._pid, self._told = pid, self._watched
            return self._watched if self._watched != told else None

    def pass_on(self, glimpses: Sequence[Glimpse], in_hand: Mapping[str, Claim]) -> None:
        """What the engine tells of the tasks in its hands."""
        if self.on_seen is not None:
            held = [(in_hand.get(glimpse.task_id), glimpse) for glimpse in glimpses]
            self.on_seen([Seen(c.attempt, glimpse) for c, glimpse in held if c is not None])


class Showing(threading.Thread):
    """Runs until stopped. `put` may be called from any thread, and never blocks."""

    def __init__(
        self,
        live: Live,
        in_hand: Callable[[], Sequence[str]],
        aim: Callable[[Sequence[str]], None],
    ) -> None:
        """`in_hand` names the tasks here; `aim` is told which of them are watched."""
        super().__init__(name="showing", daemon=True)
        self._live = live
        self._in_hand = in_hand
        self._aim = aim
        self._changed = threading.Condition()
        self._newest: dict[str, Seen] = {}
        self._is_stopped = False
        self._is_failing = False

    def put(self, seen: Sequence[Seen]) -> None:
        """Show these when there is time; a newer one takes the place of an older."""
        with self._changed:
            for one in seen:
                if len(self._newest) < MOST_WATCHED or one.glimpse.task_id in self._newest:
                    self._newest[one.glimpse.task_id] = one
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def run(self) -> None:
        ask_at = time.monotonic()
        while not self._is_stopped:
            seen = self._wait(ask_at)
            try:
                if seen:
                    self._live.show([one for one in map(sight_of, seen) if one is not None])
                if time.monotonic() >= ask_at:
                    ask_at = time.monotonic() + max(ASK, self._ask() / ASK_SHARE)
                    self._is_failing = False
            except Unreachable as error:
                self._give_up(error)
                ask_at = time.monotonic() + OUTAGE
        self._live.close()

    def _ask(self) -> float:
        """Have those told of that are watched; returns the seconds of a processor it took."""
        began = time.thread_time()
        self._aim(self._live.watched(self._in_hand()))
        return time.thread_time() - began

    def _wait(self, until: float) -> list[Seen]:
        with self._changed:
            timeout = max(until - time.monotonic(), 0.0)
            self._changed.wait_for(lambda: self._newest or self._is_stopped, timeout)
            seen, self._newest = list(self._newest.values()), {}
        return seen

    def _give_up(self, error: Unreachable) -> None:
        self._aim([])
        if not self._is_failing:
            log.warning("no task is shown to whoever watches: %s", error)
        self._is_failing = True


def sight_of(seen: Seen) -> Sight | None:
    """What goes out, None for a picture that is none."""
    glimpse = seen.glimpse
    try:
        preview = _shrunk(glimpse.picture) if glimpse.picture is not None else b""
    # An engine's picture may be anything, and who looks on must not end a worker.
    except Exception as error:  # noqa: BLE001
        log.warning("task %s has no preview: %s", glimpse.task_id, type(error).__name__)
        return None
    counts = (seen.attempt, glimpse.done, glimpse.total)
    return Sight(glimpse.task_id, *counts, glimpse.text, preview)


def _shrunk(picture: Picture) -> bytes:
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
