"""The keeper: it closes every gap that a lost message or a dead process leaves.

    dispatch    pending rows become queued and are published, inside a window
    reap        a worker that stopped beating loses its tasks to others
    reconcile   queued rows that Redis knows nothing of become pending again

Runs in every worker process; two at once are safe, because every write checks
state again. Knows no model.
"""

import logging
import threading
import time

from genfarm_shared.errors import Unreachable
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store

log = logging.getLogger(__name__)

#: A row younger than this may be on its way between the store and Redis. Seconds.
IN_FLIGHT = 2.0
#: Key of the Redis run that this farm was last reconciled with.
EPOCH = "broker_run_id"


def dispatch(store: Store, broker: Broker, window: int) -> int:
    """Publish what is pending, as far as the window allows; returns how many.

    A crash between the two steps leaves rows that say queued and have no
    message: `reconcile` finds those.
    """
    hints = store.dispatch(window)
    if hints:
        broker.publish(hints)
    return len(hints)


class Keeper:
    """One keeper; `tick` is its round. Not for two threads at once."""

    def __init__(
        self, store: Store, broker: Broker, settings: Settings, worker_id: str = ""
    ) -> None:
        """`worker_id` is this process's own: while its beats do not arrive, nobody is judged."""
        self._worker_id = worker_id
        self._store = store
        self._broker = broker
        self._settings = settings
        #: Beat of each worker, and since when this keeper has seen it unchanged.
        self._beats: dict[str, tuple[float, float]] = {}
        self._ticked_at: float | None = None
        self._reconciled_at = 0.0
        self._run_id = ""

    def tick(self, now: float) -> None:
        """One round; `now` is monotonic seconds. Raises Unreachable during an outage."""
        self._store.expire()
        dead = self._reap(now)
        restarted = self._redis_restarted()
        if dead or restarted or self._is_due(now):
            self._restore_strays()
            self._reconcile(now)
            if restarted:
                self._store.remember(EPOCH, self._run_id)
        published = dispatch(self._store, self._broker, self._settings.window)
        if published:
            log.info("dispatched %d tasks", published)

    def _reap(self, now: float) -> list[str]:
        dead = self._store.reap(self._silent(now), max_attempts=self._settings.max_attempts)
        for worker_id in dead:
            log.warning("worker %s is dead: no beat for a lease; its tasks go on", worker_id)
        return dead

    def _silent(self, now: float) -> dict[str, float]:
        """Workers whose beat this keeper has watched stand still for a whole lease.

        By this process's own clock, so that no step of a clock judges anybody;
        and anew after a late round of its own: what held this keeper up, a
        database that stalls say, may have held up every beat as well.
        """
        lease = self._settings.lease_seconds
        before, self._ticked_at = self._ticked_at, now
        if before is None or now - before > lease / 2:
            self._beats = {}
        beats = {worker.id: worker.beat_at for worker in self._store.list_workers()}
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

    def _redis_restarted(self) -> bool:
        """Whether Redis is another run than the one last reconciled with, by any keeper."""
        run_id = self._broker.run_id()
        if run_id == self._run_id:
            return False
        self._run_id = run_id
        return self._store.recall(EPOCH) != run_id

    def _is_due(self, now: float) -> bool:
        return now - self._reconciled_at >= self._settings.reconcile_seconds

    def _reconcile(self, now: float) -> None:
        """Rows first, Redis second: a task published between the two is not taken for lost."""
        self._reconciled_at = now
        queued = self._store.queued_before(IN_FLIGHT)
        if not queued:
            return
        lost = set(queued) - self._broker.task_ids()
        if lost:
            log.warning("%d queued tasks have no message; publishing them again", len(lost))
            self._store.requeue(lost)


class KeeperThread(threading.Thread):
    """Runs a keeper until stopped; an outage is logged once and waited out."""

    def __init__(self, keeper: Keeper, tick_seconds: float) -> None:
        super().__init__(name="keeper", daemon=True)
        self._keeper = keeper
        self._tick_seconds = tick_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        failing = False
        while not self._stopped.wait(self._tick_seconds):
            try:
                self._keeper.tick(time.monotonic())
            except Unreachable as error:
                if not failing:
                    log.warning("keeper waits: %s", error)
                failing = True
            else:
                failing = False

    def stop(self) -> None:
        self._stopped.set()
