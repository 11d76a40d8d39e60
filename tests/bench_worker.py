"""The worker of `bench recording`: a real one that notes each commit, and may forget them.

With BENCH_RECORDING=off claims and commits stay in memory; all else of the
worker, pictures written as files too, is as it always is.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import Claim, Outcome

_NOTES = Path(os.environ["BENCH_NOTES"]).open("a", buffering=1)  # noqa: SIM115  # for its life
_commit = Store.commit


def _note_commit(
    store: Store, outcomes: Sequence[Outcome], worker_id: str, *, max_attempts: int
) -> Committed:
    done = _commit(store, outcomes, worker_id, max_attempts=max_attempts)
    _NOTES.write(f"{time.monotonic()} {len(done.recorded)}\n")
    return done


# In the place of the tables that a worker writes.
_rows: dict[str, Claim] = {}
_held: set[str] = set()


def _claim_in_memory(store: Store, task_ids: Sequence[str], _worker_id: str) -> list[Claim]:
    if not _rows.keys() >= set(task_ids):
        for r in store.read_after(task_ids[0].rpartition("-")[0], -1, 100_000):
            _rows[r.id] = Claim(r.id, r.job_id, 1, r.kind, r.model, r.model, 1, r.params, r.seed)
    _held.update(task_ids)
    return [_rows[task_id] for task_id in task_ids]


def _commit_in_memory(
    _store: Store, outcomes: Sequence[Outcome], _worker_id: str, *, max_attempts: int
) -> Committed:
    recorded = frozenset(outcome.task_id for outcome in outcomes if outcome.failure is None)
    _held.difference_update(recorded)
    _NOTES.write(f"{time.monotonic()} {len(recorded)}\n")
    return Committed(recorded, frozenset(), frozenset())


def _held_in_memory(_store: Store, _worker_id: str) -> frozenset[str]:
    return frozenset(_held)


_verbs: dict[str, Any] = {"commit": _note_commit}
if os.environ["BENCH_RECORDING"] == "off":
    _verbs = {"claim": _claim_in_memory, "commit": _commit_in_memory, "still_mine": _held_in_memory}
for _name, _verb in _verbs.items():
    setattr(Store, _name, _verb)

from genfarm_workers.app import app  # noqa: E402  # the store is changed before it is used

__all__ = ["app"]
