"""Asks for the plan's jobs as people do: again after a failure, twice, and for too long.

Runs on a thread of its own, because a locked store holds a submission up. What
it was told is kept in `Asked`; the verdict compares that with the rows.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from genfarm.farm import Farm
from genfarm.handle import bound
from genfarm.job import Job
from genfarm.link import Address, Link
from genfarm.torture.plan import FAILING, Flavour, Input, Order
from genfarm_shared.errors import GenfarmError, Unreachable
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State, Task

#: Seconds after which a submission that met an outage is tried again.
AGAIN_SECONDS = 1.5
#: Seconds that a submitter which is to die may take.
DEATH_SECONDS = 60.0


@dataclass(slots=True)
class Asked:
    """What the driver asked for and was told."""

    order: Order
    #: Set once a submission returned.
    job_id: str | None = None
    #: Ids that submissions of the same job returned.
    ids: set[str] = field(default_factory=set)
    #: What the latest failed submission said.
    refusal: str = ""
    #: Whether `cancel` returned.
    cancelled: bool = False
    #: Whether `retry` returned.
    retried: bool = False


class Interrupted(Exception):
    """What a submitter raises that is to fail half-way."""


class Faltering(Store):
    """A store whose writer fails when half of the tasks it was given are written."""

    def insert(self, new: Sequence[Task], window: int = 0) -> int:
        super().insert(new[: len(new) // 2])
        self.break_off()
        return 0

    def break_off(self) -> None:
        raise Interrupted("the submitter failed half-way")


def open_farm(settings: Settings, store: Store | None = None) -> Farm:
    """Bound to exactly these settings: `Farm()` would take its limits from the environment."""
    places = (settings.store_url, settings.broker, settings.artifacts_url)
    link = Link(Address(*places, window=settings.window, max_open=settings.max_open))
    if store is not None:
        vars(link)["_store"] = store
    return bound(Farm, link, progress=False)


class Driver(threading.Thread):
    """Works through the plan; `ask` adds to it."""

    def __init__(self, settings: Settings, orders: list[Order], seed: int) -> None:
        super().__init__(name="driver", daemon=True)
        self._settings = settings
        self._farm = open_farm(settings)
        self._store = Store(settings.store_url)
        self._orders = list(orders)
        self._lock = threading.Lock()
        self._rng = Random(f"driver {seed}")  # noqa: S311
        self._finished = threading.Event()
        self._halted = threading.Event()
        self.asked: list[Asked] = []
        #: Every task of a cancelled job, as it stood right after.
        self.sightings: dict[str, State] = {}
        #: What ended the driver, which is a bug.
        self.error: BaseException | None = None

    def ask(self, order: Order) -> None:
        """Add an order, to be submitted at once."""
        with self._lock:
            self._orders.insert(0, order)

    def finish(self) -> None:
        """Submit what is left and end."""
        self._finished.set()

    def halt(self) -> None:
        """Submit nothing more and end."""
        self._halted.set()

    def run(self) -> None:
        try:
            self._drive()
        except BaseException as error:  # noqa: BLE001  # told by whoever waits for the thread
            self.error = error

    def close(self) -> None:
        self._farm.close()
        self._store.close()

    def retry(self) -> int:
        """Have the failures of every job to be mended run again; returns how many."""
        number = 0
        for asked in self.asked:
            if asked.order.flavour is Flavour.MENDED and asked.job_id and not asked.retried:
                number += self._farm.job(asked.job_id).retry("failed")
                asked.retried = True
        return number

    def _drive(self) -> None:
        began = time.monotonic()
        waiting: list[tuple[float, Asked]] = []
        while not self._halted.is_set():
            now = time.monotonic() - began
            with self._lock:
                due = [order for order in self._orders if order.at <= now]
                self._orders = [order for order in self._orders if order.at > now]
            for order in due:
                self.asked.append(Asked(order))
                waiting.append((now, self.asked[-1]))
            ready = [pair for pair in waiting if pair[0] <= now]
            waiting = [pair for pair in waiting if pair[0] > now]
            waiting += [(now + AGAIN_SECONDS, asked) for _, asked in ready if self._try(asked)]
            if self._finished.is_set() and not (waiting or self._orders):
                return
            time.sleep(0.02)

    def _try(self, asked: Asked) -> bool:
        """Submit it; whether it should be tried again."""
        try:
            self._submit(asked)
        except Unreachable as error:
            asked.refusal = str(error)
            # Some give up: theirs must be whole or not there at all.
            return asked.order.flavour not in FAILING and self._rng.random() < 0.8
        except (GenfarmError, Interrupted) as error:
            asked.refusal = f"{type(error).__name__}: {error}"
        return False

    def _submit(self, asked: Asked) -> None:
        order = asked.order
        match order.flavour:
            case Flavour.INVALID:
                self._send(order, [*order.inputs, {"text": "too long", "seconds": -1.0}])
            case Flavour.INTERRUPTED:
                with open_farm(self._settings, Faltering(self._settings.store_url)) as farm:
                    self._send(order, order.inputs, farm)
            case Flavour.KILLED:
                self._kill_submitter(order)
            case Flavour.BROKEN:
                self._send(order, _breaking(order.inputs))
            case Flavour.STREAMED:
                self._keep(asked, self._send(order, iter(order.inputs)))
            case _:
                job = self._keep(asked, self._send(order, order.inputs))
                if order.flavour is Flavour.TWICE:
                    self._keep(asked, self._send(order, order.inputs))
                if order.flavour is Flavour.CANCELLED:
                    self._cancel(asked, job)

    def _send(self, order: Order, inputs: Any, farm: Farm | None = None) -> Job:
        return (farm or self._farm).submit_many(
            "drill",
            inputs,
            model="drill",
            name=order.name,
            priority=order.priority,
            deadline=order.deadline,
        )

    def _keep(self, asked: Asked, job: Job) -> Job:
        asked.job_id = job.id
        asked.ids.add(job.id)
        return job

    def _cancel(self, asked: Asked, job: Job) -> None:
        if asked.cancelled:
            return
        self._halted.wait(asked.order.cancel_after)
        job.cancel()
        asked.cancelled = True
        for record in self._store.read_after(job.id, -1, len(asked.order.inputs)):
            self.sightings[record.id] = record.state

    def _kill_submitter(self, order: Order) -> None:
        """Have a process of its own submit it and die half-way."""
        told = {"name": order.name, "inputs": order.inputs}
        try:
            done = self._run_submitter(told)
        except subprocess.TimeoutExpired:
            raise Interrupted(f"the submitter was killed after {DEATH_SECONDS:.0f} s") from None
        raise Interrupted(f"the submitter ended with code {done.returncode}")

    def _run_submitter(self, told: Input) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "genfarm.torture.submitter"],
            input=json.dumps(told).encode(),
            env=self._settings.environment(),
            capture_output=True,
            timeout=DEATH_SECONDS,
            check=False,
        )


def _breaking(inputs: list[Input]) -> Iterator[Input]:
    yield from inputs
    raise Interrupted("the generator failed")
