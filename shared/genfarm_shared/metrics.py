"""What the farm looks like right now, in the text format that Prometheus reads.

The store is the source of all of it, so that a scrape needs no worker and no
broker. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from genfarm_shared.goodput import TOTAL, goodput_of
from genfarm_shared.store import Store
from genfarm_shared.tasks import State, WorkerRecord

#: What a scraper is told that it gets.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    said: str
    samples: Sequence[tuple[Mapping[str, str], float]]
    #: `gauge`, or `counter` for what only grows while its worker lives.
    kind: str = "gauge"


def render(store: Store, clock: Callable[[], float] = time.time) -> str:
    """All metrics. Raises Unreachable."""
    return "".join(line + "\n" for family in _families(store, clock()) for line in _lines(family))


def _families(store: Store, now: float) -> Iterator[_Family]:
    counts = dict.fromkeys(State, 0) | store.count_states()
    by_state = [({"state": str(state)}, float(n)) for state, n in counts.items()]
    yield _Family("genfarm_tasks", "Tasks in the store, by state.", by_state)
    waiting = [
        ({"model": model}, float(states.get(State.PENDING, 0) + states.get(State.QUEUED, 0)))
        for model, states in sorted(store.backlog().items())
    ]
    yield _Family("genfarm_queue_depth", "Tasks that no worker has claimed, by model.", waiting)
    workers = store.list_workers()
    states = dict.fromkeys(("alive", "draining"), 0.0)
    for worker in workers:
        states[worker.state] += 1
    of_states = [({"state": state}, n) for state, n in states.items()]
    yield _Family("genfarm_workers", "Workers that beat, by state.", of_states)
    yield from _of_workers(workers, now)


def _of_workers(workers: Sequence[WorkerRecord], now: float) -> Iterator[_Family]:
    named = [({"node": worker.node, "device": worker.device}, worker) for worker in workers]
    held = [(labels, float(worker.report.get("in_hand", 0))) for labels, worker in named]
    yield _Family("genfarm_worker_in_hand", "Tasks that its engine holds.", held)
    ages = [(labels, max(now - worker.beat_at, 0.0)) for labels, worker in named]
    yield _Family("genfarm_worker_beat_age_seconds", "Seconds since its last beat.", ages)
    shares = [
        (labels, share)
        for labels, worker in named
        if (share := goodput_of(worker).fraction) is not None
    ]
    said = "Share of the last minute's busy time that went into rows that a task needed."
    yield _Family("genfarm_worker_goodput_ratio", said, shares)
    seconds = [
        ({**labels, "part": part}, value)
        for labels, worker in named
        for part, value in asdict(goodput_of(worker, TOTAL)).items()
    ]
    said = "Seconds of its life, by where they went."
    yield _Family("genfarm_worker_seconds_total", said, seconds, "counter")


def _lines(family: _Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.said}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        inside = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        yield f"{family.name}{{{inside}}} {value:.15g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
