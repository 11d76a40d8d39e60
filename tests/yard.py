"""Real worker processes with short leases, ended by pid."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from genfarm_shared.keeper import dispatch
from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, State, Task, WorkerRecord
from tests.waiting import until

#: Laid over the shipped registry: a farm's drills are served only where they are listed.
REGISTRY = """
[models.drill]
kind = "drill"
engine = "drill"
slots = 32
stall_seconds = {stall_seconds}
"""


class Yard:
    """A store, a broker, and worker processes that a test starts."""

    def __init__(self, settings: Settings, logs: Path, stall_seconds: float = 3.0) -> None:
        registry = logs / "models.toml"
        registry.write_text(REGISTRY.format(stall_seconds=stall_seconds))
        settings = settings.model_copy(update={"registry": str(registry)})
        self.store = Store(settings.store_url)
        self.broker = Broker(settings.broker)
        self.settings = settings
        self._logs = logs
        self._workers: list[subprocess.Popen[bytes]] = []
        self._jobs = 0

    def start_worker(self, models: str = "sleep,floats,drill", **settings: object) -> WorkerRecord:
        """One worker process that serves those models; returns once it is ready."""
        known = {worker.id for worker in self.store.list_workers(everyone=True)}
        log = (self._logs / f"worker{len(self._workers)}.log").open("wb")
        command = [sys.executable, "-m", "genfarm_workers", "--node", f"cpu{len(self._workers)}"]
        with log:
            process = subprocess.Popen(
                [*command, "--device", "cpu", "--models", models],
                env=self.settings.model_copy(update=settings).environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._workers.append(process)
        until(lambda: self._new(known) and self._new(known)[0].report.get("ready"))
        return self._new(known)[0]

    def submit(self, kind: str, *inputs: object, model: str = "") -> str:
        """A job of those inputs, each a mapping or the main parameter alone; returns its id."""
        self._jobs += 1
        found = find_kind(kind)
        model = model or found.builtin_model or kind
        job = JobRecord(f"job{self._jobs}", kind, model, {}, float(self._jobs))
        self.store.open_job(job)
        tasks = []
        for index, value in enumerate(inputs):
            values = value if isinstance(value, Mapping) else {found.params.main: value}
            params = check_params(found, values)
            tasks.append(
                Task(
                    id=f"{job.id}-{index:06d}",
                    job_id=job.id,
                    index=index,
                    custom_id=str(index),
                    kind=kind,
                    model=model,
                    batch_key=batch_key(model, params),
                    rows=1,
                    params=params.model_dump(mode="json"),
                    seed=index,
                )
            )
        self.store.insert(tasks)
        self.store.seal(job.id, len(tasks))
        dispatch(self.store, self.broker, 10_000)
        return job.id

    def states(self, job_id: str) -> dict[State, int]:
        return self.store.count([job_id])[job_id]

    def finished(self, job_id: str) -> bool:
        return all(state.is_terminal for state in self.states(job_id))

    def exit_code(self, pid: int) -> int:
        """Wait for a worker to end."""
        (process,) = [process for process in self._workers if process.pid == pid]
        return process.wait(30)

    def close(self) -> None:
        for process in self._workers:
            for child in _children(process.pid):
                child.kill()
            process.kill()
            process.wait()
        self.store.close()
        self.broker.close()

    def _new(self, known: set[str]) -> list[WorkerRecord]:
        return [worker for worker in self.store.list_workers() if worker.id not in known]


def _children(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found
