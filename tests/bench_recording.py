"""What recording costs the farm: a worker that records beside one that forgets, in turn.

Both run the starter models in real worker processes on SQLite.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genfarm_shared.keeper import dispatch
from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.measure import Arm, Part, Ratio, interleave
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, Task
from tests.servers import RedisServer
from tests.waiting import until

ROUNDS = 5
#: Kind, model, and tasks of a round: some seconds each on two cores.
LOADS = (("text-generation", "stories", 320), ("text-to-image", "digits", 192))


#: Wider than all rounds together: the rows of the arm that forgets stay queued, and would fill a
#: window of one round, so that nothing more were published until its keeper looks.
WINDOW = 10**6


@dataclass(slots=True)
class _Farm:
    """A farm of one worker."""

    store: Store
    broker: Broker
    notes: Path
    jobs: int = 0

    def run(self, kind_name: str, model: str, total: int) -> float:
        """Tasks a second, from their publication to the last commit."""
        self.jobs += 1
        kind, job_id = find_kind(kind_name), f"bench{self.jobs}"
        self.store.open_job(JobRecord(job_id, kind.name, model, {}, 0.0))
        tasks = []
        for index in range(total):
            params = check_params(kind, {"prompt": f"a drawing of a {index % 10}", "seed": index})
            key, values = batch_key(model, params), params.model_dump(mode="json")
            of_job = (f"{job_id}-{index}", job_id, index, str(index), kind.name, model)
            tasks.append(Task(*of_job, batch_key=key, rows=1, params=values, seed=index))
        self.store.insert(tasks)
        self.store.seal(job_id, total)
        before = len(self._notes())
        began = time.monotonic()
        dispatch(self.store, self.broker, WINDOW)
        until(lambda: sum(n for _, n in self._notes()[before:]) >= total, 300.0)
        return total / (self._notes()[-1][0] - began)

    def _notes(self) -> list[tuple[float, int]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(float(at), int(number)) for at, number in map(str.split, lines)]


def measure() -> Iterator[Part]:
    """Tasks a second of both arms, for text and for pictures."""
    with ExitStack() as doors:
        farms = {name: doors.enter_context(_arm(name)) for name in ("on", "off")}
        for kind, model, total in LOADS:
            for farm in farms.values():
                farm.run(kind, model, 32)  # loads the model
            arms = [
                Arm(f"recording {name}", partial(farm.run, kind, model, total))
                for name, farm in farms.items()
            ]
            on, off = interleave(arms, ROUNDS)
            ratio = Ratio("recording on / off", on.median / off.median, 0.95)
            yield Part(f"{total} of {kind}", "tasks/s", (on, off), (ratio,))


@contextmanager
def _arm(recording: str) -> Iterator[_Farm]:
    with tempfile.TemporaryDirectory() as home, ExitStack() as doors:
        server = RedisServer(Path(home))
        doors.callback(server.stop)
        # Rows that a forgetful worker leaves queued must not be published again.
        settings = Settings.load(home=home, broker=server.url, reconcile_seconds=3600.0)
        notes = Path(home, "notes")
        environment = settings.environment() | {"GENFARM_MODELS": "stories,digits"}
        environment |= {"BENCH_RECORDING": recording, "BENCH_NOTES": str(notes)}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        store, broker = Store(settings.store_url), Broker(server.url)
        app = ["-m", "celery", "-A", "tests.bench_worker", "worker", "-n", f"{recording}@bench"]
        with Path(home, "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, *app, "--without-gossip", "--without-mingle"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        doors.callback(_end, worker)
        until(lambda: any(w.report.get("ready") for w in store.list_workers()), 120.0)
        yield _Farm(store, broker, notes)
        store.close()
        broker.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)
