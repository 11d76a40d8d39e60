"""What recording costs the farm: a worker that records beside one that forgets, in turn.

Both run the starter models in real worker processes on SQLite; the ratio of
their medians is to be at least 0.95.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from genfarm.redis_server import prepare_server
from genfarm_shared.keeper import dispatch
from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, Task
from tests.waiting import until

ROUNDS = 5
#: Kind, model, and tasks of a round: some seconds each on two cores.
LOADS = (("text-generation", "stories", 320), ("text-to-image", "digits", 192))


#: Wider than all rounds together: the rows of the arm that forgets stay queued, and would fill a
#: window of one round, so that nothing more were published until its keeper looks.
WINDOW = 10**6


@dataclass(slots=True)
class _Arm:
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


def main() -> None:
    """Print tasks a second of both arms and their ratio, for text and for pictures."""
    with ExitStack() as doors:
        arms = {name: doors.enter_context(_arm(name)) for name in ("on", "off")}
        for kind, model, total in LOADS:
            rates: dict[str, list[float]] = {name: [] for name in arms}
            for arm in arms.values():
                arm.run(kind, model, 32)  # loads the model
            for _ in range(ROUNDS):
                for name, arm in arms.items():
                    rates[name].append(arm.run(kind, model, total))
            median = {name: statistics.median(found) for name, found in rates.items()}
            for name, found in rates.items():
                spread = f"{min(found):,.1f} to {max(found):,.1f}"
                said = f"{kind:16} recording {name:3} {median[name]:>7,.1f} tasks/s ({spread})\n"
                sys.stdout.write(said)
            sys.stdout.write(f"{kind:16} on / off: {median['on'] / median['off']:.3f}\n")


@contextmanager
def _arm(recording: str) -> Iterator[_Arm]:
    with tempfile.TemporaryDirectory() as home, ExitStack() as doors:
        server = prepare_server(Path(home))
        redis = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
        doors.callback(_end, redis)
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
        yield _Arm(store, broker, notes)
        store.close()
        broker.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)
