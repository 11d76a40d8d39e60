"""The engine process: reads claims from the pipe, steps the engines, sends outputs back.

Owns the device and nothing else: it knows no queue, no store and no network,
and it dies with the worker process that started it. One thread; it sleeps in
the pipe's `poll` until a message or the next wake-up of an engine.
"""

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from genfarm_shared.errors import InvalidTask, ModelUnavailable
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.batcher import REFILL
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.checking import checked, refusal
from genfarm_workers.engines import Engine, Output
from genfarm_workers.engines.registry import Tick, build
from genfarm_workers.engines.resident import DeviceLost, Resident
from genfarm_workers.goodput import LOAD, USEFUL, Spent
from genfarm_workers.lookout import Lookout
from genfarm_workers.outbox import Outbox
from genfarm_workers.pipe import Pipe
from genfarm_workers.review.censor import Censor
from genfarm_workers.shelf import Budget, Builder, Shelf
from genfarm_workers.turns import Turns

logger = logging.getLogger(__name__)

#: Seconds between signs of life; the watchdog counts in whole seconds.
BEAT_SECONDS = 0.5
#: Exit code of an engine process whose device is lost (EX_OSERR).
LOST = 71

_PR_SET_PDEATHSIG = 1


class _Stop(BaseException):
    """The worker wants no more, or is gone. Passes through every engine's `except Exception`."""


class Loop:
    """Everything between the pipe and the engines."""

    def __init__(
        self,
        pipe: Pipe,
        catalog: Mapping[str, ModelEntry],
        build_engine: Builder,
        clock: Callable[[], float] = time.monotonic,
        budget: Budget | None = None,
    ) -> None:
        self._pipe = pipe
        self._catalog = catalog
        self._clock = clock
        self._arrived: deque[Claim] = deque()
        #: Tasks of models for which there is no room yet.
        self._unplaced: dict[str, list[Claim]] = {}
        budget = budget or Budget()
        self._censor = Censor(catalog, budget.device)
        build_engine = self._censor.beside(build_engine)
        self._shelf = Shelf(catalog, build_engine, clock, self._say, self._tick, budget)
        self._stepping = ""
        self._last_beat = 0.0
        self._outbox = Outbox(pipe.send_outputs)
        self._turns = Turns()
        self._lookout = Lookout(pipe, clock)
        self._spent = Spent()

    def run(self) -> None:
        """Work until the worker says stop or its end of the pipe is gone."""
        try:
            while True:
                self._rest()
                self._place_arrived()
                self._advance()
                if self._unplaced:  # what made way for them may have ended just now
                    self._place_arrived()
                self._beat()
        except (_Stop, EOFError, OSError) as end:
            logger.info("engine process ends: %r", end)
        except DeviceLost as lost:
            self._outbox.flush()
            self._pipe.send({"op": "lost", "reason": str(lost)})
            raise

    def _rest(self) -> None:
        """Listen until something needs doing, at most one beat. Tasks that are held meanwhile
        do not wait for us: it is their nature, and the time is theirs."""
        now = self._clock()
        wakes = [resident.wakes_at(now) for resident in self._shelf.active().values()]
        held = [wake for wake in wakes if wake is not None]
        look = self._lookout.wakes_at()
        soonest = min([*held, now + BEAT_SECONDS, *([] if look is None else [look])])
        seconds = max(soonest - now, 0.0)
        is_theirs = bool(held) and seconds > 0
        if seconds > 0:
            self._outbox.flush()
        if is_theirs:
            self._spent.begin(USEFUL, now)
        self._listen(seconds)
        if is_theirs:
            self._spent.end(self._clock())

    def _advance(self) -> None:
        """One step of the engine whose turn it is."""
        now = self._clock()
        residents = self._shelf.active()
        wakes = {model: resident.wakes_at(now) for model, resident in residents.items()}
        wanting = [model for model, wake in wakes.items() if wake is not None and wake <= now]
        if wanting:
            model = self._turns.pick(wanting)
            self._step(model, residents[model])
            self._shelf.touch(model)
            self._turns.charge(model, self._clock() - now)

    def _step(self, model: str, resident: Resident) -> None:
        if model != self._stepping:
            self._stepping = model
            self._outbox.flush()  # how long its steps take is not known
            self._pipe.send({"op": "stepping", "model": model})
        before = resident.shortages
        work = replace(resident.work)
        began = self._clock()
        self._spent.begin(USEFUL, began)
        try:
            ended = resident.advance()
        finally:
            now = self._clock()
            self._spent.end(now, work.share_until(resident.work))
        self._outbox.put(self._censor.judge(model, ended), now)
        now = self._clock()
        # The next step is taken to be as long as this one.
        self._outbox.make_way(now + (now - began), resident.slots // REFILL)
        if resident.shortages != before:
            known = {"model": model, "ceilings": resident.ceilings()}
            self._pipe.send({"op": "shortage", **known})

    def _listen(self, timeout: float) -> None:
        """Take in every message there is, waiting at most `timeout` seconds for the first."""
        while (message := self._pipe.receive(timeout)) is not None:
            if message["op"] == "admit":
                self._arrived.extend(message["claims"])
            elif message["op"] == "drop":
                self._forget(message["task_ids"])
            elif message["op"] == "reload":
                self._shelf.try_again(message["model"])
            elif message["op"] == "settle":
                self._shelf.settle(message["model"], message["rows"])
            elif message["op"] == "watch":
                self._lookout.aim(message["task_ids"])
            elif message["op"] == "stop":
                raise _Stop
            timeout = 0.0

    def _tick(self) -> None:
        """Called by an engine within a long step. Claims wait; a drop takes effect at once."""
        try:
            self._outbox.flush()
            self._listen(0.0)
            self._beat()
        except (EOFError, OSError) as error:
            # An engine would take these for a fault of its own.
            raise _Stop from error

    def _forget(self, task_ids: Sequence[str]) -> None:
        gone = set(task_ids)
        self._outbox.forget(gone)
        self._arrived = deque(claim for claim in self._arrived if claim.task_id not in gone)
        for model, claims in list(self._unplaced.items()):
            self._unplaced[model] = [claim for claim in claims if claim.task_id not in gone]
            if not self._unplaced[model]:  # or it would be loaded for nothing
                del self._unplaced[model]
                self._shelf.waive(model)
        for resident in list(self._shelf.held.values()):
            resident.drop(task_ids)

    def _place_arrived(self) -> None:
        """Give every claim to its model's engine; those that no engine takes have ended."""
        for model in list(self._unplaced):
            # A drop within a load, this one or that of the model before, may have taken the last.
            if model in self._unplaced and self._shelf.find(model) is not None:
                self._arrived.extendleft(reversed(self._unplaced.pop(model, [])))
        if self._arrived and self._censor.is_asked():  # a classifier takes its time
            self._outbox.flush()
        placed = []
        while self._arrived:
            placed.append(self._place(self._arrived.popleft()))
        refused = [output for output in placed if output is not None]
        if refused:
            self._pipe.send_outputs(refused)

    def _place(self, claim: Claim) -> Output | None:
        """The failure of a claim that no engine takes."""
        try:
            found = checked(claim, self._catalog)
        except InvalidTask as error:
            return Output(claim.task_id, failure=refusal(claim, error))
        except ModelUnavailable as error:
            return Output(claim.task_id, failure=Failure("model_unavailable", str(error)))
        if claim.model in self._unplaced:
            self._unplaced[claim.model].append(claim)
            return None
        resident = self._shelf.find(claim.model)
        if isinstance(resident, Failure):
            return Output(claim.task_id, failure=resident)
        if resident is None:
            self._unplaced[claim.model] = [claim]
        elif (refused := self._censor.refuse(found)) is not None:
            return Output(claim.task_id, failure=refused)
        else:
            resident.enqueue(found)
        return None

    def _say(self, message: dict[str, Any]) -> None:
        """Pass on what the shelf says, and note how long its loads take."""
        self._outbox.flush()
        if message["op"] == "loading":
            self._spent.begin(LOAD, self._clock())
        self._pipe.send(message)
        if message["op"] in ("loaded", "unloadable"):
            self._spent.end(self._clock())

    def _beat(self) -> None:
        now = self._clock()
        if now - self._last_beat >= BEAT_SECONDS:
            self._last_beat = now
            self._pipe.send({"op": "alive", "spent": self._spent.totals(now)})
        self._lookout.show(self._shelf.active().values())


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m genfarm_workers.loop`: the connection comes as an inherited descriptor."""
    parser = argparse.ArgumentParser(prog="genfarm_workers.loop")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--catalog", required=True, help="JSON, or a path to a file of it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ceilings", type=json.loads, default={}, help="JSON: model, key, tasks")
    parser.add_argument("--memory", type=int, default=0, help="bytes that weights may take")
    chosen = parser.parse_args(arguments)
    _die_with_parent()
    # The worker process decides: a terminal and systemd signal the whole group, and a batch
    # that is to be finished must not lose its engine. The worker ends it by the pipe.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    pipe = Pipe(Connection(chosen.fd))
    pipe.send({"op": "ready", "device": chosen.device, "pid": os.getpid()})
    build_engine = partial(_build, chosen.device, chosen.threads)
    budget = Budget(chosen.device, chosen.memory, chosen.ceilings)
    loop = Loop(pipe, _parse_catalog(chosen.catalog), build_engine, budget=budget)
    code = 0
    try:
        loop.run()
    except DeviceLost as lost:
        logger.critical("the device is lost: %s", lost)
        code = LOST
    logging.shutdown()
    os._exit(code)  # torch takes seconds to tear down what the system frees at once


def _build(device: str, threads: int, entry: ModelEntry, tick: Tick) -> Engine:
    engine = build(entry, device, tick)
    # Only if the engine brought it in: a process that only sleeps never imports torch.
    torch = sys.modules.get("torch")
    if torch is not None and threads > 0:
        torch.set_num_threads(threads)
    return engine


def _parse_catalog(text: str) -> dict[str, ModelEntry]:
    content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
    return {key: ModelEntry.model_validate(entry) for key, entry in json.loads(content).items()}


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent; elsewhere the pipe's end of file does."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died between its spawn and the call above.
    if os.getppid() != parent:
        raise SystemExit("the worker process is gone")


if __name__ == "__main__":
    main()
