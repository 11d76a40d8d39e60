"""Holds the engine process: starts it, feeds it, watches it, restarts it.

The worker process stays alive and answers while the device works; when the
engine segfaults, hangs or runs out of memory only the engine dies, and the
claims in its hands come back from here. Knows no store and no queue.
"""

import logging
import signal
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genfarm_shared.goodput import REPORTED
from genfarm_shared.tasks import Claim
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.device import Prober
from genfarm_workers.engines import Knee
from genfarm_workers.goodput import Ledger
from genfarm_workers.hand import Hand
from genfarm_workers.models import OPS, Models
from genfarm_workers.recorder import Ended
from genfarm_workers.residency import Residency
from genfarm_workers.showing import Gaze
from genfarm_workers.spawn import Pin, Spawned, spawn, spell
from genfarm_workers.verdict import Death
from genfarm_workers.watchdog import Watchdog

log = logging.getLogger(__name__)

#: Seconds from its first to its longest pause before an engine that keeps dying starts again.
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: An engine that lived so long has recovered; the next death pauses from the start.
RECOVERED_SECONDS = 60.0


class EngineHost:
    """One engine process at a time, and the claims in its hands. Thread-safe."""

    def __init__(
        self,
        pin: Pin,
        catalog: Mapping[str, ModelEntry],
        bench: Bench,
        prober: Prober,
        residency: Residency | None = None,
        memory: int = 0,
    ) -> None:
        """`bench` is told how loads go, `residency` what is held; `prober` is for whoever
        restarts the engine. `memory` are the bytes that weights may take, 0 for the usual.

        Of a model whose slots are left out nothing runs until somebody calls `settle`.
        """
        self.bench = bench
        #: Which of the tasks somebody watches.
        self.gaze = Gaze()
        self.prober = prober
        self.ledger = Ledger()
        self.residency = residency or Residency({}, None)
        self._models = Models(catalog, bench, self.residency)
        self.digests = self._models.digests
        self._pin = pin
        self._memory = memory
        self._lock = threading.RLock()
        # Apart from the lock above: a full pipe blocks the sender, and the receiver must
        # be able to go on meanwhile, or both processes wait for each other.
        self._sending = threading.Lock()
        self._hand = Hand(self._models.slots, self.ledger)
        self._engine: Spawned | None = None
        self._dropped: list[str] = []
        self._watchdog = Watchdog()
        self._deaths = 0
        self._young_deaths = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget what was known of the engine process before."""
        self._started_at = time.monotonic()
        self._watchdog.begin()
        self._models.begin_anew()
        #: Sizes that it has not heard of yet.
        self._settled: list[tuple[str, int]] = []
        self._hung = self._lost = ""
        self._is_gone = False

    def start(self) -> None:
        """Start the engine process; it says `ready` through `receive`."""
        with self._lock:
            self._begin_anew()
            known = self._models
            self._engine = spawn(self._pin, known.catalog, known.ceilings, self._memory)
        log.info("engine %d started on %s", self._engine.pid, self._pin.device)

    def is_up(self) -> bool:
        """Whether there is an engine process to hand claims to."""
        with self._lock:
            return self._engine is not None

    def is_ready(self) -> bool:
        """Whether the engine process has begun to work."""
        with self._lock:
            return self._watchdog.is_ready

    def submit(self, claims: Sequence[Claim]) -> bool:
        """Hand claims to the engine; False when they are still the caller's, because it died.

        Blocks while the engine does not read, during a load say.
        """
        with self._lock:
            engine = self._engine
            if engine is None:
                return False
            if not self._hand.claims:
                self._watchdog.hear()
            self._hand.take(claims)
            again = self._models.again({claim.model for claim in claims})
        try:
            with self._sending:
                for model in again:
                    engine.pipe.send({"op": "reload", "model": model})
                engine.pipe.send_claims(claims)
        except (OSError, TypeError):  # TypeError: closed under a half-sent message
            with self._lock:
                ours = self._hand.let_go(claim.task_id for claim in claims)
            return not ours  # else they were given back with the rest of the dead engine's
        return True

    def drop(self, task_ids: Collection[str]) -> list[str]:
        """Forget tasks; returns those that were in hand. Never blocks: `tell` says it on."""
        with self._lock:
            gone = [claim.task_id for claim in self._hand.let_go(task_ids)]
            self._dropped += gone
        return gone

    def tell(self) -> None:
        """Tell the engine what was dropped, so that it stops at its next step, what was settled,
        and what is watched. May block."""
        with self._lock:
            engine, gone, self._dropped = self._engine, self._dropped, []
            settled, self._settled = self._settled, []
        if engine is None:
            return
        try:
            with self._sending:
                if gone:
                    engine.pipe.send({"op": "drop", "task_ids": gone})
                for model, rows in settled:
                    engine.pipe.send({"op": "settle", "model": model, "rows": rows})
                if (watched := self.gaze.news(engine.pid)) is not None:
                    engine.pipe.send({"op": "watch", "task_ids": watched})
        except (OSError, TypeError):
            log.info("engine died before it was told; it holds no task, and the next knows sizes")

    def measured(self) -> dict[str, Knee]:
        """Batch sizes that the engine found, and has to be told of by `settle`."""
        with self._lock:
            return dict(self._models.measured)

    def settle(self, model: str, rows: int) -> None:
        """Set the size that all workers of this kind use, for this engine and those after it.
        Never blocks: `tell` says it on."""
        with self._lock:
            if self._models.settle(model, rows):
                self._settled.append((model, rows))
            self._hand.recount()

    def remember(self, ceilings: Mapping[str, Mapping[str, int]]) -> None:
        """Where memory ran out on devices of this kind, for engines that start from now on."""
        with self._lock:
            self._models.ceilings = {model: dict(known) for model, known in ceilings.items()}

    def ceilings(self) -> dict[str, dict[str, int]]:
        """Where it ran out, as far as is known: by model, by batch key."""
        with self._lock:
            return dict(self._models.ceilings)

    def slots(self) -> Mapping[str, int]:
        """Rows of each model's batches, as they are at any time."""
        return self._models.slots

    def receive(self, timeout: float) -> list[Ended] | None:
        """Tasks that ended, [] when none did in `timeout` seconds, None when the engine died.

        Only for one thread. After None, `bury` says what it held and `start` begins anew.
        """
        engine = self._engine
        if engine is None:
            return None
        try:
            message = engine.pipe.receive(timeout)
        except (EOFError, OSError):
            return None
        except (TypeError, ValueError):  # closed under it
            if self._engine is engine:
                raise
            return None
        self._watchdog.listened(timeout)
        if message is None:
            self._kill_if_hung(engine)
            if self._hung:  # not waited for here: one that waits for a sick driver never ends
                return None
            # In two turns, for what it said before it went; a child of its own may keep the
            # pipe open beyond its end.
            was_gone, self._is_gone = self._is_gone, engine.is_gone()
            return None if was_gone else []
        self._watchdog.hear()
        return self._handle(message)

    def bury(self) -> Death:
        """What the dead engine held, and why it died."""
        with self._lock:
            engine, self._engine = self._engine, None
            held = self._hand.empty()
            self.ledger.bury()
            self._dropped = []
        code = engine.end() if engine is not None else 0
        killed = code == -signal.SIGKILL and not self._hung
        # One that worked and died of it is its tasks' matter: they are made suspects.
        worked = self._watchdog.is_ready and (bool(held) or killed)
        lived = time.monotonic() - self._started_at
        self._deaths += 1
        self._young_deaths = 0 if worked or lived > RECOVERED_SECONDS else self._young_deaths + 1
        return Death(
            held,
            self._lost or self._hung or f"the engine process {spell(code)}",
            was_killed=killed,
            was_ready=self._watchdog.is_ready,
            was_hung=bool(self._hung),
            lost_device=bool(self._lost),
            loading=self._models.loading,
        )

    def pause_seconds(self) -> float:
        """How long to wait before the next start; grows while engines die with nothing done."""
        return PAUSES[min(max(self._young_deaths - 1, 0), len(PAUSES) - 1)]

    def rows_in_hand(self) -> dict[str, int]:
        """Batch rows that the engine holds of each model, waiting in it or on the device."""
        with self._lock:
            return self._hand.rows()

    def is_busy(self) -> bool:
        """Whether the engine holds any task."""
        return bool(self._hand.claims)

    def in_hand(self) -> list[str]:
        """Ids of the tasks that the engine holds."""
        with self._lock:
            return list(self._hand.claims)

    def report(self) -> dict[str, Any]:
        """What to say of the engine in the worker's beat."""
        with self._lock:
            return {
                "engine_pid": self._engine.pid if self._engine is not None else None,
                "ready": self._watchdog.is_ready,
                "in_hand": len(self._hand.claims),
                "deaths": self._deaths,
                REPORTED: self.ledger.report(),
                **self._models.report(),
                **self.bench.report(),
            }

    def stop(self) -> list[Claim]:
        """End the process; returns the claims it held.

        By the end of its pipe and not by a message: a pipe that is full takes none. One that
        has work may be within a long step and not look at its pipe, so it is killed.
        """
        with self._lock:
            if self._hand.claims and self._engine is not None:
                self._engine.kill()
        return self.bury().held

    def _handle(self, message: Mapping[str, Any]) -> list[Ended]:
        with self._lock:
            match message["op"]:
                case "ready":
                    self._watchdog.is_ready = True
                    self.bench.unpark()
                case op if op in OPS:
                    self._models.note(message)
                case "stepping":
                    self._watchdog.stepping = message["model"]
                case "lost":
                    self._lost = f"the device was lost: {message['reason']}"
                case "glimpses":
                    self.gaze.pass_on(message["glimpses"], self._hand.claims)
                case "alive":
                    self.ledger.hear(message["spent"])
                case "outputs":
                    output_of = {output.task_id: output for output in message["outputs"]}
                    ended = [
                        Ended(claim, output_of[claim.task_id])
                        for claim in self._hand.let_go(output_of)
                    ]
                    self._models.note_seconds(ended)
                    return ended
        return []

    def _kill_if_hung(self, engine: Spawned) -> None:
        with self._lock:
            known, loading = self._models.catalog, self._models.loading
            silent = self._watchdog.overdue(known, loading, self._hand.models())
            if silent is not None and not self._hung:
                doing = f" while it loaded {loading}" if loading else ""
                self._hung = (
                    f"the engine process hung: no sign of life for {silent:.0f} s{doing}, "
                    "so it was killed"
                )
                log.error("engine %d: %s", engine.pid, self._hung)
                engine.kill()
