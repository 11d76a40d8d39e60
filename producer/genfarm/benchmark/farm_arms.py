"""The arms of `genfarm bench farm`: each runs a workload once and says its rate in tasks/s."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.benchmark.frame import Peer, PeerFailed
from genfarm.benchmark.httpload import await_server, post_all
from genfarm.farm import Farm
from genfarm.processes import Child, Command, end
from genfarm.redis_server import free_port
from genfarm_shared.goodput import TOTAL, Goodput, goodput_of, together
from genfarm_shared.measure import Arm
from genfarm_shared.provenance import strip
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State, TaskRecord

#: Seconds that a round of the farm, and the start of a server, may take.
PATIENCE, START_SECONDS = 3600.0, 120.0
#: Seconds in which a worker that lives has certainly beaten twice.
BEAT_SECONDS = 5.0
#: Tasks that load a model before the clock starts.
WARM = 2


#: Gives the bytes of an artefact.
Read = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Workload:
    """Tasks that every arm does."""

    name: str
    title: str
    kind: str
    #: The registry's entry of its model.
    entry: Mapping[str, Any]
    #: Parameters of each task, its seed among them.
    tasks: Sequence[Mapping[str, Any]]
    #: What the farm is to reach of the bare loop.
    goal: float
    #: What it is to reach of naive Celery; None where nothing is promised.
    over_celery: float | None = None
    #: The first so many are enough for what runs one at a time; 0 has no such arm.
    few: int = 0


class FarmArm:
    """The farm, and what it recorded last."""

    def __init__(self, farm: Farm, store: Store, workload: Workload) -> None:
        self._farm = farm
        self._store = store
        self._workload = workload
        self.records: Sequence[TaskRecord] = ()
        #: Of its rounds alone, and not of the time in which other arms have their turn.
        self.goodput = Goodput()

    def run(self, number: int | None = None) -> float:
        """Raises PeerFailed when a task has no result."""
        before = self._total()
        rate = self._submit(list(self._workload.tasks[:number]))
        self._await_beat(max(record.finished_at or 0.0 for record in self.records))
        self.goodput = together([self.goodput, self._total().since(before)])
        return rate

    def _submit(self, tasks: Sequence[Mapping[str, Any]]) -> float:
        job = self._farm.submit_many(
            self._workload.kind,
            tasks,
            model=self._workload.entry["key"],
            on_conflict="new",
            progress=False,
        )
        job.wait(PATIENCE)
        self.records = self._store.read_after(job.id, -1, len(tasks))
        bad = [r for r in self.records if r.state is not State.SUCCEEDED]
        if bad or len(self.records) != len(tasks):
            raise PeerFailed(f"the farm left tasks without result: {bad[:1]}")
        began = min(record.claimed_at or 0.0 for record in self.records)
        ended = max(record.finished_at or 0.0 for record in self.records)
        return len(tasks) / (ended - began)

    def _total(self) -> Goodput:
        return together(goodput_of(worker, TOTAL) for worker in self._store.list_workers())

    def _await_beat(self, moment: float) -> None:
        """Until the worker has spoken for that moment: its engine does twice a second, and so
        does it."""
        deadline = time.monotonic() + BEAT_SECONDS
        while time.monotonic() < deadline:
            if all(worker.beat_at > moment + 1.0 for worker in self._store.list_workers()):
                return
            time.sleep(0.05)


class BareArm:
    """The engine in a loop, and what it gave last."""

    def __init__(self, bare: Peer, workload: Workload) -> None:
        self._bare = bare
        self._workload = workload
        self.digests: Sequence[str] = ()

    def run(self, number: int | None = None) -> float:
        tasks = list(self._workload.tasks[:number])
        answer = self._bare.ask("run", model=self._workload.entry, tasks=tasks)
        self.digests = answer["digests"]
        return len(tasks) / float(answer["seconds"])


def celery_arm(naive: Peer, workload: Workload) -> Arm:
    """Naive Celery, warm."""

    def run(number: int) -> float:
        tasks = list(workload.tasks[:number])
        return number / float(naive.ask("run", model=workload.entry, tasks=tasks)["seconds"])

    run(1)
    return Arm("naive celery", lambda: run(workload.few))


def litserve_arm(workload: Workload, folder: Path, doors: ExitStack) -> Arm:
    """LitServe, warm; it ends with `doors`. Raises PeerFailed where it does not start."""
    port = free_port()
    argv = [sys.executable, "-P", "-m", "genfarm_workers.benchmark.litserver"]
    argv += ["--port", str(port), "--model", json.dumps(workload.entry)]
    log = folder / f"litserve-{workload.name}.log"
    child = Child(Command("litserve", argv, Settings.load().environment(), log))
    child.spawn(0.0)
    doors.callback(end, [child], 3.0)
    try:
        await_server(port, "/health", START_SECONDS)
    except PeerFailed as error:
        raise PeerFailed(f"LitServe does not start ({error}): {child.last_words()}") from error
    # Two batches: one that runs and one that waits for it.
    threads = 2 * int(workload.entry["slots"])

    def run() -> float:
        seconds = post_all(port, "/predict", workload.tasks, threads)
        return len(workload.tasks) / seconds

    post_all(port, "/predict", workload.tasks[:WARM], 1)
    return Arm("litserve", run)


def same_bytes(records: Sequence[TaskRecord], digests: Sequence[str], read: Read) -> float:
    """Share of recorded results that are what the bare loop gave for the same task.

    Of files without what the farm writes into them: how they were made.
    """
    recorded = [digest(record, read) for record in records]
    return sum(a == b for a, b in zip(recorded, digests, strict=True)) / len(recorded)


def digest(record: TaskRecord, read: Read) -> str:
    """What `genfarm_workers/benchmark/bare.py` makes of the same output."""
    files = [hashlib.sha256(strip(read(a.name))).hexdigest() for a in record.artifacts]
    said = json.dumps([record.output, files], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
