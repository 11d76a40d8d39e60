"""The drill engine: known answers, and every way in which an engine can go wrong.

What tests and `genfarm torture` run on. A farm serves it only when its own
registry says so, because a drill may end the engine process it runs in.
Imports no torch.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Never

from genfarm_shared.drill import SIDE, answer, pixels
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Picture, Work
from genfarm_workers.engines.registry import Tick, no_tick

#: Tasks together from which a `oom-batch` runs out of memory.
TOO_MANY = 4


class DrillEngine:
    """Ends each task its own `seconds` after the first step that sees it, or goes wrong there."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        #: A row-step is one task; nothing is padded.
        self.work = Work()
        #: Whether loading fails, and how. The limit `sick_while` is for the worker: while that
        #: file exists, a probe of the device fails.
        self._load_fault = str(entry.limits.get("load_fault", ""))
        #: As long as a load of a real model takes.
        self._load_seconds = float(entry.limits.get("load_seconds", 0.0))
        #: Admitted, not yet seen by a step.
        self._fresh: dict[str, Claim] = {}
        #: Task id to the moment it ends, in the seconds of `step`, and its claim.
        self._held: dict[str, tuple[float, Claim]] = {}

    def load(self) -> None:
        time.sleep(self._load_seconds)
        if self._load_fault:
            FAULTS[self._load_fault](0.0)

    def free_rows(self, batch_key: str) -> int:
        return self.slots - len(self._fresh) - len(self._held)

    def admit(self, claims: Sequence[Claim]) -> None:
        self._fresh.update((claim.task_id, claim) for claim in claims)

    def step(self, now: float) -> list[Output]:
        fresh, self._fresh = list(self._fresh.values()), {}
        for claim in fresh:
            self._held[claim.task_id] = (now + claim.params["seconds"], claim)
        for claim in fresh:
            self._go_wrong(claim)
        over = [claim for end, claim in self._held.values() if end <= now]
        for claim in over:
            del self._held[claim.task_id]
        self.work.add(computed=len(over), useful=len(over))
        return [_output(claim) for claim in over]

    def wakes_at(self, now: float) -> float | None:
        if self._fresh:
            return now
        return min((end for end, _ in self._held.values()), default=None)

    def drop(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._fresh.pop(task_id, None)
            self._held.pop(task_id, None)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """As much of the answer as of the time has passed."""
        now = time.monotonic()
        found = [self._held[task_id] for task_id in task_ids if task_id in self._held]
        return [_glimpse(claim, end - now) for end, claim in found]

    def _go_wrong(self, claim: Claim) -> None:
        fault, until = claim.params["fault"], claim.params["faulty_attempts"]
        if fault in FAULTS and claim.attempt <= until:
            if fault == "oom-batch" and len(self._held) <= TOO_MANY:
                return
            FAULTS[fault](claim.params["seconds"])


def _output(claim: Claim) -> Output:
    seed, text = claim.seed, claim.params["text"]
    said: object = answer(seed, text)
    if claim.params["fault"] == "bad-output" and claim.attempt <= claim.params["faulty_attempts"]:
        said = float("nan")
    drawn = [Picture(SIDE, SIDE, pixels(seed, text))] if claim.params["picture"] else []
    spoken = {"texts": [answer(seed, text)]} if claim.params["aloud"] else {}
    return Output(claim.task_id, output={"answer": said, **spoken}, files=drawn)


def _glimpse(claim: Claim, left: float) -> Glimpse:
    whole = answer(claim.seed, claim.params["text"])
    passed = 1.0 - left / max(claim.params["seconds"], left)
    done = int(passed * len(whole))
    picture = None
    if claim.params["picture"]:
        rows = int(passed * SIDE) * SIDE * 3
        drawn = pixels(claim.seed, claim.params["text"])[:rows]
        picture = Picture(SIDE, SIDE, drawn.ljust(SIDE * SIDE * 3, b"\0"))
    text = whole[:done] if claim.params["aloud"] else ""
    return Glimpse(claim.task_id, done, len(whole), text, picture)


def _raise(_seconds: float) -> Never:
    raise ValueError("a drill")


def _run_out_of_memory(_seconds: float) -> Never:
    raise RuntimeError("CUDA out of memory. A drill")


def _lack_memory(_seconds: float) -> Never:
    raise MemoryError


def _leave(_seconds: float) -> Never:
    raise SystemExit(3)


def _exit(_seconds: float) -> Never:
    os._exit(9)


def _fall(_seconds: float) -> None:
    ctypes.string_at(0)


def _kill(_seconds: float) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(_seconds: float) -> None:
    while True:
        time.sleep(3600)


def _deadlock(_seconds: float) -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _hold_gil(seconds: float) -> None:
    """As a long call into C does that forgets to let go of Python's lock."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def _lose_device(_seconds: float) -> Never:
    raise type("AcceleratorError", (RuntimeError,), {})("CUDA error: a drill")


#: By the name that a request, or the registry's `load_fault`, gives it.
FAULTS: dict[str, Callable[[float], None]] = {
    "raise": _raise,
    "memory-error": _lack_memory,
    "oom": _run_out_of_memory,
    "oom-batch": _run_out_of_memory,
    "system-exit": _leave,
    "exit": _exit,
    "segfault": _fall,
    "kill": _kill,
    "hang": _hang,
    "deadlock": _deadlock,
    "hold-gil": _hold_gil,
    "lost-device": _lose_device,
}
