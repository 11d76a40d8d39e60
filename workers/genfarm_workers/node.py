"""One worker process put together: store, broker, engine, threads, and their end.

Knows Celery only as something that delivers messages to the intake.
"""

import importlib.metadata
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from genfarm_shared import safety
from genfarm_shared.advancing import Advancer, AdvancerThread
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.exits import BROKEN, FENCED, REFUSED
from genfarm_shared.keeper import Keeper, KeeperThread
from genfarm_shared.live import Live
from genfarm_shared.liveness import name_process
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import WorkerRecord
from genfarm_workers.batcher import Batcher
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry, sick_file
from genfarm_workers.device import Prober, memory_of, name_device, pin
from genfarm_workers.fleet import Fleet
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import Intake
from genfarm_workers.lease import Lease
from genfarm_workers.patience import softly
from genfarm_workers.provenance import make_prover, standing_of
from genfarm_workers.recorder import Aides, Recorder
from genfarm_workers.residency import Residency, default_budget
from genfarm_workers.review.gates import Gates
from genfarm_workers.runner import Runner
from genfarm_workers.scout import Scout
from genfarm_workers.showing import Showing
from genfarm_workers.sizes import folder_here, weigh
from genfarm_workers.spawn import Pin

log = logging.getLogger(__name__)

#: Seconds that a stopping worker waits at most for its keeper's round.
LAST_ROUND = 2.0
#: Seconds beyond `drain_timeout` in which a worker gives back and signs off. Some 50 ms are
#: needed; a wait for a database or for Redis is cut.
SIGN_OFF = 0.9


def new_worker_id() -> str:
    """Unique for ever: a restarted worker is another worker."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Node:
    """A worker process of the farm."""

    def __init__(
        self, settings: Settings, worker_id: str, catalog: Mapping[str, ModelEntry], intake: Intake
    ) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._catalog = catalog
        self._intake = intake
        self._drain_once = threading.Lock()

    def start(self, name: str) -> None:
        """Connect, enlist, start the engine and every thread. `name` is the Celery node name.

        Raises GenfarmError when the store or the broker is out of reach, InvalidSetting when
        one of them is unsafe.
        """
        settings = self._settings
        threading.excepthook = _end_process
        safety.refuse(safety.place_dangers(settings.store_url))
        self._store = Store(settings.store_url)
        self._broker = Broker(settings.broker)
        self._broker.ping()
        self._check_safety()
        chains = [Advancer(self._store, self._broker, settings.window) for _ in range(2)]
        self._advancer = AdvancerThread(chains[0])
        self._advancer.start()
        place = pin(settings.device, settings.threads)
        prober = Prober(place, settings.reprobe_seconds, drill=sick_file(self._catalog))
        fleet = Fleet(self._store, self._worker_id, name_device(place), self._catalog)
        catalog = fleet.sized()
        residency = _residency(catalog, place, settings.memory)
        self._host = EngineHost(place, catalog, Bench(), prober, residency, settings.memory)
        self._host.remember(fleet.shortages())
        self._scout = Scout(
            self._worker_id, self._store, self._broker, self._intake, self._host, fleet
        )
        batcher, recorder = Batcher(self._host.slots()), self._recorder(catalog, place.device)
        self._runner = Runner(
            self._worker_id, self._store, self._intake, self._host, batcher, recorder
        )
        self._store.enlist(self._describe(name))
        self._runner.start()
        self._lease = Lease(
            self._store,
            self._worker_id,
            settings.beat_seconds,
            report=self._runner.report,
            after=self._look_around,
            on_lost=self._fence,
        )
        self._lease.start()
        self._showing = Showing(Live(settings.broker), self._host.in_hand, self._runner.aim)
        self._host.gaze.on_seen = self._showing.put
        self._showing.start()
        keeper = Keeper(self._store, self._broker, settings, self._worker_id, chains[1].sweep)
        self._keeper = KeeperThread(keeper, settings.tick_seconds, on_refused=self._refuse)
        self._keeper.start()
        log.info("worker %s serves %s", self._worker_id, ", ".join(sorted(self._catalog)))

    def drain(self) -> None:
        """Finish what the engine holds within `drain_timeout`, give back the rest, sign off.

        The process ends soon after that time whatever it waits for: whoever stops a worker
        kills it then, and the farm makes up for what was not signed off.
        """
        if not self._drain_once.acquire(blocking=False):
            return
        log.info("worker %s drains", self._worker_id)
        until = time.monotonic() + self._settings.drain_timeout
        _end_after(self._settings.drain_timeout + SIGN_OFF)
        self._keeper.stop()
        self._runner.close()
        softly("say that it drains", lambda: self._store.drain(self._worker_id))
        self._runner.drain(until - time.monotonic())
        self._advancer.stop()
        self._showing.stop()
        self._lease.stop()
        softly("sign off", lambda: self._store.retire(self._worker_id, "stopped"))
        # Its last round must not find the door closed; one that waits for a server is left.
        self._keeper.join(LAST_ROUND)
        self._advancer.join(LAST_ROUND)
        self._broker.close()

    def _recorder(self, catalog: Mapping[str, ModelEntry], device: str) -> Recorder:
        """Records, signs and reviews what the engine brings, and hands on items of chains."""
        settings = self._settings
        standing = standing_of(catalog, device, self._host.digests, self._host.slots())
        prover = make_prover(settings, self._store, self._worker_id, standing)
        aides = Aides(prover, Gates(catalog), self._advancer.hand_in)
        artifacts = ArtifactStore(settings.artifacts_url)
        return Recorder(self._store, artifacts, self._worker_id, settings.max_attempts, aides)

    def _look_around(self) -> None:
        self._runner.look_around()
        self._scout.look()
        self._runner.notify()  # what was settled is said on by the feeder

    def _check_safety(self) -> None:
        dangers = [
            *safety.broker_dangers(self._broker, self._store.farm()),
            *safety.host_dangers(self._store, self._settings),
        ]
        for danger in safety.refuse(dangers):
            log.warning("%s: %s. %s", danger.what, danger.found, danger.fix)

    def _refuse(self) -> None:
        os._exit(REFUSED)

    def _fence(self) -> None:
        os._exit(FENCED)  # the engine follows at the end of its pipe

    def _describe(self, name: str) -> WorkerRecord:
        models: list[dict[str, Any]] = [
            {
                "key": entry.key,
                "kind": entry.kind,
                "default": entry.default,
                "description": entry.description,
            }
            for entry in self._catalog.values()
        ]
        return WorkerRecord(
            id=self._worker_id,
            node=name,
            host=socket.gethostname(),
            pid=os.getpid(),
            process=name_process(),
            device=self._settings.device,
            state="alive",
            models=models,
            version=importlib.metadata.version("genfarm"),
            started_at=0.0,
            beat_at=0.0,
        )


def _residency(catalog: Mapping[str, ModelEntry], place: Pin, memory: int) -> Residency:
    sizes = {key: weigh(entry, folder_here(entry), place.device) for key, entry in catalog.items()}
    whole = memory_of(place)
    budget = memory or (default_budget(place.device, whole) if whole is not None else None)
    return Residency(sizes, budget)


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _end_process(failed: threading.ExceptHookArgs) -> None:
    """A worker that lost a thread would beat for ever and work no more; its tasks go to others."""
    error = failed.exc_value
    trace = (failed.exc_type, error, failed.exc_traceback) if error is not None else None
    name = failed.thread.name if failed.thread is not None else "?"
    log.critical("thread %s failed; the worker ends. This is a bug", name, exc_info=trace)
    os._exit(BROKEN)
