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

    def __init__(self, store: Store, broker: Broker, settings: Settings) -> None:
        self._store = store
        self._broker = broker
        self._settings = settings
        self._healthy_since: float | None = None
        self._reconciled_at = 0.0
        self._run_id = ""

    def tick(self, now: float) -> None:
        """One round; `now` is monotonic seconds. Raises Unreachable during an outage."""
        try:
            self._round(now)
        except Unreachable:
            self._healthy_since = None
            raise
        if self._healthy_since is None:
            self._healthy_since = now

    def _round(self, now: float) -> None:
        self._store.expire()
        dead = self._reap() if self._may_judge(now) else []
        for worker_id in dead:
            self._take_back(worker_id)
        if dead or self._redis_restarted() or self._is_due(now):
            self._reconcile(now)
        published = dispatch(self._store, self._broker, self._settings.window)
        if published:
            log.info("dispatched %d tasks", published)

    def _may_judge(self, now: float) -> bool:
        """Only after a whole lease of healthy rounds: during an outage of the database
        nobody can beat, and a keeper that judged at once would kill the fleet."""
        since = self._healthy_since
        return since is not None and now - since >= self._settings.lease_seconds

    def _reap(self) -> list[str]:
        dead = self._store.reap(
            self._settings.lease_seconds, max_attempts=self._settings.max_attempts
        )
        for worker_id in dead:
            log.warning("worker %s is dead: no beat for a lease; its tasks go on", worker_id)
        return dead

    def _take_back(self, worker_id: str) -> None:
        """Its messages go back to their lists, those of ended tasks too: a worker that finds
        the row ended tells Flower what the dead one no longer could."""
        back = self._broker.restore(worker_id)
        if back:
            log.info("%d messages of %s are back in their queues", back, worker_id)

    def _redis_restarted(self) -> bool:
        run_id = self._broker.run_id()
        changed, self._run_id = run_id != self._run_id, run_id
        return changed

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
