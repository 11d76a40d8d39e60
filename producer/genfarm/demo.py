"""`genfarm demo`: a farm from nothing, work for it, a worker's death, and the count after.

Every figure is measured or read from the store; none is assumed. Starts the
farm by `local`, asks it by `Farm`, and knows no SQL.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genfarm import local
from genfarm.demo_count import Tally, compare_one_by_one, count_in_flower, recognise, tally
from genfarm.demo_progress import Watcher, watch
from genfarm.farm import Farm
from genfarm.job import Job
from genfarm_shared.errors import MissingExtra
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INKS = ("", " in blue ink", " in red ink", " in green ink")
OPENINGS = (
    "Once upon a time",
    "One rainy morning",
    "Long ago, in the village",
    "There was once",
    "Every evening,",
)
#: Inputs of the third concurrency demo, and floats in each.
FLOAT_BATCHES, FLOATS = 100, 32
#: Seconds after which a part that does not end is counted as lost.
PATIENCE = 1800.0
#: Tasks of each kind in a round that makes every worker load both models.
WARM_TASKS = 64
#: Rounds of that at most; a worker may get none of a round.
WARM_ROUNDS = 5
#: Rounds in which a task alone is measured against full batches; a short demo has one.
ROUNDS = 5
#: Pictures on the gallery's sheet.
GALLERY = 100

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo is asked to do."""

    #: None: a dated new folder.
    home: Path | None = None
    #: Pictures, and as many texts.
    items: int = 500
    #: How long a sleep task sleeps.
    seconds: float = 2.0
    #: Leave the farm up.
    keep: bool = False
    with_flower: bool = True


@dataclass(slots=True)
class Figures:
    """What the demo found."""

    home: Path
    flower_url: str | None
    workers: int
    #: Wall seconds from submitting to the last result, of 5 and 100 sleep tasks at once.
    concurrency_5x2s_seconds: float = 0.0
    concurrency_100x2s_seconds: float = 0.0
    #: The same of FLOAT_BATCHES tasks of FLOATS floats.
    floats_seconds: float = 0.0
    #: The same of all pictures and texts together, the killed worker included.
    seconds: float = 0.0
    #: Node of the worker that was killed.
    killed: str = ""
    tally: Tally = field(default_factory=Tally)
    #: Seconds of a text and a picture one by one over those in full batches; None when that
    #: could not be measured.
    batching_gain: float | None = None
    one_by_one: dict[str, float] | None = None
    #: States that Flower shows for the pictures and texts; None without Flower.
    flower_states: dict[str, int] | None = None
    #: Share of pictures in which the judge sees the digit asked for.
    recognised: float | None = None
    gallery: Path | None = None
    folders: Sequence[Path] = ()
    kept: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every task succeeded, once."""
        t = self.tally
        return t.succeeded == t.tasks > 0 and not (t.lost or t.duplicated)


def run_demo(plan: Plan, say: Say) -> Figures:
    """Run the whole demo. Ends the farm unless it is to be kept and nothing failed."""
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise MissingExtra(
            "the demo makes pictures and texts, which needs torch, transformers and diffusers: "
            "pip install 'genfarm[worker,local]'"
        )
    home = plan.home or Settings.load().home / "demos" / time.strftime("%Y%m%d-%H%M%S")
    say(f"folder   {home.absolute()}")
    with _farm_in(home, plan, say) as started:
        figures = Figures(started.home, started.flower_url, len(started.workers), kept=plan.keep)
        store = Store(started.store)
        with Farm(home=started.home, progress=False) as farm:
            _show_concurrency(farm, store, plan, figures, say)
            _make(farm, store, plan, figures, say)
        store.close()
        return figures


@contextmanager
def _farm_in(home: Path, plan: Plan, say: Say) -> Iterator[local.StartedFarm]:
    was_up = local.running(home) is not None
    begun = time.monotonic()
    started = local.start(home=home, flower=plan.with_flower, detach=plan.keep)
    took = time.monotonic() - begun
    nodes = ", ".join(worker.node for worker in started.workers)
    say(f"farm     server, store and workers {nodes} are up ({took:.1f} s)")
    if started.flower_url:
        say(f"flower   {started.flower_url}  (password in {started.home}/flower.password)")
    keep = was_up
    try:
        yield started
        keep = keep or plan.keep
    finally:
        if not keep:
            local.stop(started.home)


def _show_concurrency(farm: Farm, store: Store, plan: Plan, figures: Figures, say: Say) -> None:
    _timed(farm, store, "sleep", [0.0])  # the path is warm when the clock starts
    floats = [[float(n + k) for k in range(FLOATS)] for n in range(FLOAT_BATCHES)]
    figures.concurrency_5x2s_seconds = _timed(farm, store, "sleep", [plan.seconds] * 5)
    figures.concurrency_100x2s_seconds = _timed(farm, store, "sleep", [plan.seconds] * 100)
    _timed(farm, store, "batch-floats", floats[:1])
    figures.floats_seconds = _timed(farm, store, "batch-floats", floats)
    say(
        f"at once  5 x {plan.seconds:g} s in {figures.concurrency_5x2s_seconds:.2f} s, "
        f"100 x {plan.seconds:g} s in {figures.concurrency_100x2s_seconds:.2f} s, "
        f"{FLOAT_BATCHES} batches of floats in {figures.floats_seconds:.2f} s"
    )


def _timed(farm: Farm, store: Store, kind: str, inputs: Sequence[Any]) -> float:
    """Wall seconds from the submission to the last result recorded."""
    begun = time.time()
    job = farm.submit_many(kind, inputs, on_conflict="new").wait(PATIENCE)
    return (store.pace(job.id, 1.0).last_at or time.time()) - begun


def _make(farm: Farm, store: Store, plan: Plan, figures: Figures, say: Say) -> None:
    """Pictures and texts at once, a kill half-way, and the count of what came of it."""
    _load_models(farm, store, min(WARM_TASKS, plan.items), say)
    begun = time.time()
    jobs = [
        farm.submit_many("text-to-image", _prompts(plan.items), on_conflict="new"),
        farm.submit_many("text-generation", _openings(plan.items), on_conflict="new"),
    ]
    watcher = Watcher(store, [job.id for job in jobs], plan.items)
    for part in watch(watcher, PATIENCE):
        if part >= 0.5 and not figures.killed:
            figures.killed = _kill_one(store)
            say(f"fault    killed {figures.killed} (SIGKILL) at {part:.0%}")
    ends = [store.pace(job.id, 1.0).last_at or time.time() for job in jobs]
    figures.seconds = max(ends) - begun
    figures.tally = tally(store, [job.id for job in jobs])
    if figures.flower_url:
        figures.flower_states = count_in_flower(
            figures.flower_url, figures.home, [job.id for job in jobs], 2 * plan.items
        )
    if figures.tally.lost == 0:
        _save(jobs, figures)
    figures.one_by_one = compare_one_by_one(ROUNDS if plan.items >= WARM_TASKS else 1)
    if (found := figures.one_by_one) is not None:
        alone = found["text_seconds"] + found["image_seconds"]
        together = found["text_batched_seconds"] + found["image_batched_seconds"]
        figures.batching_gain = alone / together


def _load_models(farm: Farm, store: Store, tasks: int, say: Say) -> None:
    """Have every worker load both models, so that what is timed is generation."""
    begun = time.monotonic()
    for _ in range(WARM_ROUNDS):
        jobs = [
            farm.submit_many("text-to-image", _prompts(tasks), on_conflict="new"),
            farm.submit_many("text-generation", _openings(tasks), on_conflict="new"),
        ]
        for job in jobs:
            job.wait(PATIENCE)
        time.sleep(1.5)  # one beat: the workers say what they have loaded
        wanted = {job.model for job in jobs}
        if all(wanted <= set(w.report.get("loaded", ())) for w in store.list_workers()):
            said = "loaded by every worker"
            break
    else:
        said = f"not loaded by every worker after {WARM_ROUNDS} rounds; the time may include it"
    say(f"models   {said} ({time.monotonic() - begun:.1f} s)")


def _prompts(items: int) -> list[str]:
    """Digits in turn, so that a sheet of ten columns has one column a digit."""
    inks = [INKS[(index // len(DIGITS)) % len(INKS)] for index in range(items)]
    return [f"a handwritten {DIGITS[i % len(DIGITS)]}{inks[i]}" for i in range(items)]


def _openings(items: int) -> list[str]:
    return [OPENINGS[index % len(OPENINGS)] for index in range(items)]


def _kill_one(store: Store) -> str:
    """SIGKILL the worker on this host that has most in hand; returns its node."""
    here = [w for w in store.list_workers() if w.host == socket.gethostname()]
    busiest = max(here, key=lambda worker: int(worker.report.get("in_hand", 0)))
    os.kill(busiest.pid, signal.SIGKILL)
    return busiest.node


def _save(jobs: Sequence[Job], figures: Figures) -> None:
    pictures, texts = jobs
    figures.folders = (
        pictures.save(figures.home / "pictures", overwrite=True),
        texts.save(figures.home / "texts", overwrite=True),
    )
    sheet = pictures.show(GALLERY, cols=len(DIGITS), size=64)
    figures.gallery = figures.home / "gallery.png"
    sheet.save(figures.gallery)  # type: ignore[union-attr]  # pictures make a sheet
    figures.recognised = recognise(figures.folders[0] / "metadata.jsonl")
