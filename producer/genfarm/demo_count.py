"""The demo's counts: from the store, from Flower, and from a run without a farm."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.flower import flower_password, states_seen
from genfarm_shared.errors import Unreachable
from genfarm_shared.store import Store
from genfarm_shared.tasks import State

#: Seconds that Flower may lag behind the store.
FLOWER_SECONDS = 15.0
#: Seconds that a measuring process may take, its imports included.
MEASURE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of some jobs' tasks, by the store."""

    tasks: int = 0
    succeeded: int = 0
    #: Ended without a result.
    failed: int = 0
    #: Not ended.
    lost: int = 0
    #: Successes too many, by the audit, and result rows too many or too few.
    duplicated: int = 0
    #: Attempts that another worker took over.
    takeovers: int = 0


def tally(store: Store, job_ids: Sequence[str]) -> Tally:
    """Count those jobs' tasks. A task has been recorded twice if the audit or the rows say so."""
    states: dict[State, int] = {}
    for counts in store.count(job_ids).values():
        for state, number in counts.items():
            states[state] = states.get(state, 0) + number
    ended = sum(number for state, number in states.items() if state.is_terminal)
    succeeded = states.get(State.SUCCEEDED, 0)
    attempts = store.count_attempts(job_ids)
    twice = max(0, attempts.get("succeeded", 0) - succeeded)
    return Tally(
        tasks=sum(states.values()),
        succeeded=succeeded,
        failed=ended - succeeded,
        lost=sum(states.values()) - ended,
        duplicated=twice + abs(store.count_results(job_ids) - succeeded),
        takeovers=attempts.get("lost", 0),
    )


def count_in_flower(url: str, home: Path, job_ids: Sequence[str], expected: int) -> dict[str, int]:
    """How many of those jobs' tasks Flower shows in each state, once it has caught up."""
    prefixes = tuple(f"{job_id}-" for job_id in job_ids)
    deadline = time.monotonic() + FLOWER_SECONDS
    while True:
        try:
            states = states_seen(url, flower_password(home), prefixes, 100_000)
        except Unreachable:
            states = {}
        if states.get("SUCCESS", 0) >= expected or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def compare_one_by_one(rounds: int) -> dict[str, float] | None:
    """Seconds a text and a picture take: in stock calls of one task, and in full batches of the
    farm's engines, measured in turns by one process with one thread."""
    found = _ask("engines.onebyone", "--rounds", str(rounds))
    names = ("text_seconds", "text_batched_seconds", "image_seconds", "image_batched_seconds")
    if not isinstance(found, dict) or not all(name in found for name in names):
        return None
    return {name: float(found[name]) for name in names}


def recognise(metadata: Path) -> float | None:
    """Share of the saved pictures in which the judge sees the digit asked for."""
    found = _ask("zoo", "recognise", str(metadata))
    share = found.get("recognised") if isinstance(found, dict) else None
    return float(share) if isinstance(share, int | float) else None


def _ask(module: str, *options: str) -> Any:
    """The JSON that a worker-side module answers with; None when it cannot."""
    argv = [sys.executable, "-P", "-m", f"genfarm_workers.{module}", *options]
    try:
        answer = subprocess.run(
            argv, capture_output=True, text=True, check=True, timeout=MEASURE_SECONDS
        )
        return json.loads(answer.stdout.strip().rpartition("\n")[2])
    except (subprocess.SubprocessError, ValueError):
        return None
