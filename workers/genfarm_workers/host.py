"""Holds the engine process: starts it, feeds it, watches it, restarts it.

The worker process stays alive and answers while the device works; when the
engine segfaults, hangs or runs out of memory only the engine dies, and the
claims in its hands come back from here. Knows no store and no queue.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.pipe import Pipe
from genfarm_workers.recorder import Ended

log = logging.getLogger(__name__)

#: Seconds until a new engine process says it is ready: Python's start on a busy machine.
START_SECONDS = 120.0
#: Seconds that loading one model may take: tens of gigabytes from a slow disk. Not measured.
LOAD_SECONDS = 1800.0
#: Seconds from its first to its longest pause before an engine that keeps dying starts again.
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: An engine that lived so long has recovered; the next death pauses from the start.
RECOVERED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pin:
    """Where an engine process runs."""

    #: `cpu` or `cuda`, as torch names it inside the process.
    device: str
    #: Variables it starts with, such as CUDA_VISIBLE_DEVICES.
    environment: Mapping[str, str]
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Death:
    """How an engine process ended."""

    #: The claims in its hands.
    held: list[Claim]
    #: For people.
    reason: str
    #: By SIGKILL from outside: a person, or the system for want of memory.
    was_killed: bool


class EngineHost:
    """One engine process at a time, and the claims in its hands. Thread-safe."""

    def __init__(self, pin: Pin, catalog: Mapping[str, ModelEntry]) -> None:
        self._pin = pin
        self._catalog = catalog
        self._lock = threading.RLock()
        # Apart from the lock above: a full pipe blocks the sender, and the receiver must
        # be able to go on meanwhile, or both processes wait for each other.
        self._sending = threading.Lock()
        self._in_hand: dict[str, Claim] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Pipe | None = None
        self._socket: socket.socket | None = None
        self._dropped: list[str] = []
        self._heard_at = 0.0
        self._started_at = 0.0
        self._deaths = 0
        self._reason = ""
        self._ready = False
        self._loading = False
        self._loaded: dict[str, float] = {}

    def start(self) -> None:
        """Start the engine process; it says `ready` through `receive`."""
        ours, theirs = socket.socketpair()
        catalog = {key: entry.model_dump(mode="json") for key, entry in self._catalog.items()}
        command = [sys.executable, "-m", "genfarm_workers.loop", "--fd", str(theirs.fileno())]
        command += ["--device", self._pin.device, "--threads", str(self._pin.threads)]
        command += ["--catalog", json.dumps(catalog)]
        with theirs, self._lock:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **self._pin.environment},
            )
            self._socket = ours
            self._pipe = Pipe(Connection(os.dup(ours.fileno())))
            self._heard_at = self._started_at = time.monotonic()
            self._ready = self._loading = False
            self._loaded = {}
            self._reason = ""
        log.info("engine %d started on %s", self._process.pid, self._pin.device)

    def submit(self, claims: Sequence[Claim]) -> bool:
        """Hand claims to the engine; False when they are still the caller's, because it died.

        Blocks while the engine does not read, during a load say.
        """
        with self._lock:
            pipe = self._pipe
            if pipe is None:
                return False
            if not self._in_hand:
                self._heard_at = time.monotonic()
            self._in_hand.update((claim.task_id, claim) for claim in claims)
        try:
            with self._sending:
                pipe.send_claims(claims)
        except (OSError, TypeError):  # TypeError: closed under a half-sent message
            with self._lock:
                ours = [c for c in claims if self._in_hand.pop(c.task_id, None) is not None]
            return not ours  # else they were given back with the rest of the dead engine's
        return True

    def drop(self, task_ids: Collection[str]) -> list[str]:
        """Forget tasks; returns those that were in hand. Never blocks: `tell` says it on."""
        with self._lock:
            gone = [i for i in task_ids if self._in_hand.pop(i, None) is not None]
            self._dropped += gone
        return gone

    def tell(self) -> None:
        """Tell the engine what was dropped, so that it stops at its next step. May block."""
        with self._lock:
            pipe, gone, self._dropped = self._pipe, self._dropped, []
        if gone and pipe is not None:
            try:
                with self._sending:
                    pipe.send({"op": "drop", "task_ids": gone})
            except (OSError, TypeError):
                log.info("engine died while tasks were being dropped; nothing is left to drop")

    def receive(self, timeout: float) -> list[Ended] | None:
        """Tasks that ended, [] when none did in `timeout` seconds, None when the engine died.

        Only for one thread. After None, `bury` says what it held and `start` begins anew.
        """
        pipe = self._pipe
        if pipe is None:
            return None
        try:
            message = pipe.receive(timeout)
        except (EOFError, OSError):
            return None
        if message is None:
            self._kill_if_hung()
            return []
        self._heard_at = time.monotonic()
        return self._handle(message)

    def bury(self) -> Death:
        """What the dead engine held, and why it died."""
        with self._lock:
            process, self._process = self._process, None
            pipe, self._pipe = self._pipe, None
            held = list(self._in_hand.values())
            self._in_hand.clear()
            self._dropped = []
        if self._socket is not None:
            _shut(self._socket)  # wakes a sender that is blocked, and the engine's reader
        code = _end(process) if process is not None else 0
        if pipe is not None:
            pipe.close()
        lived = time.monotonic() - self._started_at
        self._deaths = 1 if lived > RECOVERED_SECONDS else self._deaths + 1
        reason = self._reason or f"the engine process {_spell(code)}"
        return Death(held, reason, was_killed=code == -signal.SIGKILL and not self._reason)

    def pause_seconds(self) -> float:
        """How long to wait before the next start; grows while engines keep dying young."""
        return PAUSES[min(max(self._deaths - 1, 0), len(PAUSES) - 1)]

    def rows_in_hand(self) -> dict[str, int]:
        """Batch rows that the engine holds of each model, waiting in it or on the device."""
        rows: Counter[str] = Counter()
        with self._lock:
            for claim in self._in_hand.values():
                rows[claim.model] += min(claim.rows, self._catalog[claim.model].slots)
        return rows

    def in_hand(self) -> list[str]:
        """Ids of the tasks that the engine holds."""
        with self._lock:
            return list(self._in_hand)

    def report(self) -> dict[str, Any]:
        """What to say of the engine in the worker's beat."""
        with self._lock:
            return {
                "engine_pid": self._process.pid if self._process is not None else None,
                "ready": self._ready,
                "loaded": dict(self._loaded),
                "in_hand": len(self._in_hand),
                "deaths": self._deaths,
            }

    def stop(self) -> list[Claim]:
        """End the process; returns the claims it held.

        By the end of its pipe and not by a message: a pipe that is full takes none.
        """
        return self.bury().held

    def _handle(self, message: Mapping[str, Any]) -> list[Ended]:
        match message["op"]:
            case "ready":
                self._ready = True
            case "loading":
                self._loading = True
                log.info("engine loads %s", message["model"])
            case "loaded":
                self._loading = False
                self._loaded[message["model"]] = message["seconds"]
                log.info("engine loaded %s in %.1f s", message["model"], message["seconds"])
            case "outputs":
                self._loading = False  # a load that failed says so with its tasks' failures
                with self._lock:
                    return [
                        Ended(claim, output)
                        for output in message["outputs"]
                        if (claim := self._in_hand.pop(output.task_id, None)) is not None
                    ]
        return []

    def _kill_if_hung(self) -> None:
        """Only silence during compute counts: a healthy engine speaks twice a second."""
        with self._lock:
            silent = time.monotonic() - self._heard_at
            if not self._ready:
                limit = START_SECONDS
            elif self._loading:
                limit = LOAD_SECONDS
            elif self._in_hand:
                limit = max(self._catalog[c.model].stall_seconds for c in self._in_hand.values())
            else:
                return
            if silent > limit and self._process is not None:
                self._reason = f"the engine process gave no sign of life for {silent:.0f} s"
                log.error("engine %d killed: %s", self._process.pid, self._reason)
                self._process.kill()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end is gone already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _end(process: subprocess.Popen[bytes], patience: float = 2.0) -> int:
    """Wait for the process to end, then make it."""
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _spell(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    return f"was killed by {signal.Signals(-code).name}"
