"""The keeper: it closes every gap that a lost message or a dead process leaves.

    dispatch    pending rows become queued and are published, inside a window
    reap        a worker that stopped beating loses its tasks to others
    reconcile   queued rows that Redis knows nothing of become pending again: at once when
                Redis has restarted or was flushed, in turn for what it lost in silence
    sweep       what chains have left behind between two stages goes on (`advancing.py`)

Runs in every worker process; two at once are safe, because every write checks
state again. Knows no model.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.liveness import is_gone
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.store.dispatching import ROUND
from genfarm_shared.tasks import WorkerRecord

log = logging.getLogger(__name__)

#: A row younger than this may be on its way between the store and Redis. Seconds.
IN_FLIGHT = 2.0
#: What a round spends on chains before the next goes on with them. Seconds, not measured.
SWEEP_SECONDS = 0.2


def dispatch(store: Store, broker: Broker, window: int) -> int:
    """Publish what is pending, as far as the window allows; returns how many.

    A round at a time, so that nobody waits long for the database and little is between the
    two. A crash there leaves rows that say queued and have no message: `reconcile` finds
    those. Raises Unreachable; what was not published is then pending again.
    """
    published = 0
    while hints := store.dispatch(window):
        try:
            broker.publish(hints)
        except Unreachable:
            with suppress(Unreachable):
                store.requeue([hint.task_id for hint in hints])
            raise
        published += len(hints)
        # Not until nothing is left: while the workers are as fast, that is never.
        if len(hints) < ROUND or published >= window:
            break
    return published


class Keeper:
    """One keeper; `tick` is its round. Not for two threads at once."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        settings: Settings,
        worker_id: str = "",
        sweep: Callable[[float], object] | None = None,
    ) -> None:
        """`worker_id` is this process's own: while its beats do not arrive, nobody is judged."""
        self._sweep = sweep
        self._worker_id = worker_id
        self._store = store
        self._broker = broker
        self._settings = settings
        #: Beat of each worker, and since when this keeper has seen it unchanged.
        self._beats: dict[str, tuple[float, float]] = {}
        self._ticked_at: float | None = None
        self._reconcile_at = self._wary_until = float("-inf")
        #: Of the last round's seconds, those that it spent on Redis.
        self._on_redis = 0.0
        self._farm = ""

    def tick(self, now: float) -> None:
        """One round; `now` is monotonic seconds. Raises Unreachable during an outage."""
        self._store.expire()
        dead = self._reap(now)
        waited = self._broker.waited_seconds
        try:
            self._mend(bool(dead), now)
        finally:
            self._on_redis = self._broker.waited_seconds - waited
        if self._sweep is not None:  # last, and briefly: a large chain must not keep others waiting
            self._sweep(SWEEP_SECONDS)

    def _mend(self, dead: bool, now: float) -> None:
        """Compare Redis with the rows where that is due, and publish what is pending."""
        new_run = self._new_run()
        if dead or new_run is not None:
            # More than once: what was too young to be judged may be lost as well.
            self._wary_until = now + 2 * IN_FLIGHT
            self._reconcile_at = now
        if now >= self._reconcile_at:
            self._restore_strays()
            # Of a new run of Redis even the newest rows are asked for: a doubled message is
            # harmless, and a wait is not.
            self._reconcile(IN_FLIGHT if new_run is None else 0.0)
            if new_run is not None:
                self._broker.mark(self._farm, new_run)
            is_wary = now < self._wary_until
            self._reconcile_at = now + (IN_FLIGHT if is_wary else self._settings.reconcile_seconds)
        published = dispatch(self._store, self._broker, self._settings.window)
        if published:
            log.info("dispatched %d tasks", published)

    def _reap(self, now: float) -> list[str]:
        limit = self._settings.max_attempts
        workers = self._store.list_workers()
        ended = {worker.id: worker.beat_at for worker in workers if is_gone(worker.process)}
        dead = self._store.reap(ended, max_attempts=limit, reason="its process has ended")
        silent = self._silent(workers, now)
        if silent:
            dead += self._store.reap(silent, max_attempts=limit)
        for worker_id in dead:
            why = "its process has ended" if worker_id in ended else "no beat for a lease"
            log.warning("worker %s is dead: %s; its tasks go on", worker_id, why)
        return dead

    def _silent(self, workers: Sequence[WorkerRecord], now: float) -> dict[str, float]:
        """Workers whose beat this keeper has watched stand still for a whole lease.

        By this process's own clock, so that no step of a clock judges anybody;
        and anew after a late round of its own: what held this keeper up, a
        database that stalls say, may have held up every beat as well. Redis
        holds up no beat.
        """
        lease = self._settings.lease_seconds
        before, self._ticked_at = self._ticked_at, now
        if before is None or now - before - self._on_redis > lease / 2:
            self._beats = {}
        beats = {worker.id: worker.beat_at for worker in workers}
        seen = self._beats
        self._beats = {
            i: seen[i] if i in seen and seen[i][0] == beat else (beat, now)
            for i, beat in beats.items()
        }
        own = self._beats.get(self._worker_id)
        if own is not None and now - own[1] > lease / 2:
            # The store takes no writes, behind a lock or for a full disk: nobody can beat.
            self._beats = {}
        return {i: beat for i, (beat, since) in self._beats.items() if now - since >= lease}

    def _restore_strays(self) -> None:
        """Put back messages in hands that live no more, whenever and however they died.

        Those of ended tasks too: a worker that finds the row ended tells Flower
        what the dead one no longer could.
        """
        holders = self._broker.holders()
        living = {worker.id for worker in self._store.list_workers()} if holders else set()
        for worker_id in holders - living:
            back = self._broker.restore(worker_id)
            if back:
                log.info("%d messages of %s are back in their queues", back, worker_id)

    def _new_run(self) -> str | None:
        """The run of Redis when no keeper has compared rows with it yet, else None.

        It restarted, or a flush took the mark away with everything else. Raises
        InvalidSetting when another farm has marked it since.
        """
        self._farm = self._farm or self._store.farm()
        epoch = self._broker.epoch()
        if epoch.farm not in ("", self._farm):
            raise InvalidSetting(
                f"the farm {epoch.farm} has taken over the broker {self._broker.url} from this "
                f"one ({self._farm}). Give each farm a Redis database of its own"
            )
        is_known = (epoch.farm, epoch.marked_run_id) == (self._farm, epoch.run_id)
        return None if is_known else epoch.run_id

    def _reconcile(self, seconds: float) -> None:
        """Publish again what was queued longer ago than that and has no message.

        Rows first, Redis second: a task published between the two is not taken for lost.
        """
        queued = self._store.queued_before(seconds)
        lost = set(queued) - self._broker.task_ids() if queued else set[str]()
        if lost:
            log.warning("%d queued tasks have no message; publishing them again", len(lost))
            self._store.requeue(lost)


class KeeperThread(threading.Thread):
    """Runs a keeper until stopped; an outage is waited out, and said again when it changes."""

    def __init__(self, keeper: Keeper, tick_seconds: float, on_refused: Callable[[], None]) -> None:
        """`on_refused` follows when the broker is another farm's now."""
        super().__init__(name="keeper", daemon=True)
        self._keeper = keeper
        self._on_refused = on_refused
        self._tick_seconds = tick_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        said = ""
        while not self._stopped.wait(self._tick_seconds):
            try:
                self._keeper.tick(time.monotonic())
            except Unreachable as error:
                if str(error) != said:
                    log.warning("keeper waits: %s", error)
                said = str(error)
            except InvalidSetting as error:
                log.critical("the worker ends: %s", error)
                self._on_refused()
                return
            else:
                said = ""

    def stop(self) -> None:
        """Begin no further round."""
        self._stopped.set()
