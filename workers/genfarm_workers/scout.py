"""Looks around after each beat: at what the engine measured, at queues, at other workers.

Everything here can wait half a second and none of it may hold up a task. Knows the store and
the broker; what to do about what it sees is said in `residency.py`.
"""

import logging

from genfarm_shared.errors import Unreachable
from genfarm_shared.messages import queue_name
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.tasks import WorkerRecord
from genfarm_workers.fleet import Fleet
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import Intake
from genfarm_workers.residency import Outlook

log = logging.getLogger(__name__)


class Scout:
    """For one thread."""

    def __init__(
        self,
        worker_id: str,
        store: Store,
        broker: Broker,
        intake: Intake,
        host: EngineHost,
        fleet: Fleet,
    ) -> None:
        self._worker_id = worker_id
        self._intake = intake
        self._models = sorted(host.slots())
        self._store = store
        self._broker = broker
        self._host = host
        self._fleet = fleet

    def look(self) -> None:
        """Raises Unreachable, and goes on where it was when called again."""
        self._settle()
        if self._host.residency.is_tight():
            self._turn()

    def _settle(self) -> None:
        """Tell the engine the batch sizes that stand, and others where memory ran out."""
        for model, knee in self._host.measured().items():
            rows = self._fleet.agree(model, knee)
            if rows != knee.rows:
                log.info("%s runs in batches of %d rows: another was first", model, rows)
            self._host.settle(model, rows)
        self._fleet.tell_shortages(self._host.ceilings())

    def _turn(self) -> None:
        """Turn to another model if that is due, and to none that is left alone for now."""
        try:
            backlog = self._broker.backlog(self._models)
        except Unreachable:  # which is no fault of the store's, of whom the caller would speak
            return
        closed = self._host.bench.is_closed
        backlog = {model: number for model, number in backlog.items() if not closed(model)}
        at_work = {m for m in self._models if self._intake.in_hand(queue_name(m))}
        turned = self._host.residency.look(self._outlook(backlog), at_work)
        if turned is not None:
            log.info("turns to %s, of which %d tasks wait", turned, backlog.get(turned, 0))

    def _outlook(self, backlog: dict[str, int]) -> Outlook:
        others = [w for w in self._store.list_workers() if self._is_able(w)]
        elsewhere = {model for w in others for model in _open_to(w)}
        before = [w for w in others if w.id < self._worker_id]
        rank = {model: sum(_serves(w, model) for w in before) for model in backlog}
        return Outlook(backlog, elsewhere, rank)

    def _is_able(self, worker: WorkerRecord) -> bool:
        is_other = worker.id != self._worker_id and worker.state == "alive"
        return is_other and not worker.report.get("parked")


def _open_to(worker: WorkerRecord) -> set[str]:
    looping = worker.report.get("crash_loop", {})
    return set(worker.report.get("residency", {}).get("open", ())) - set(looping)


def _serves(worker: WorkerRecord, model: str) -> bool:
    looping = worker.report.get("crash_loop", {})
    return model not in looping and any(served["key"] == model for served in worker.models)
