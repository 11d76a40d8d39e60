"""`genfarm bench farm`: the whole farm beside its bare engine, naive Celery and LitServe.

The farm is an embedded one with one CPU worker of one thread: Redis, SQL,
artefacts and events, all on. The bare loop is the same engine on the same
tasks with nothing around it. Every arm is timed from the first task started to
the last result recorded, its model loaded before.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genfarm import local
from genfarm.benchmark.farm_arms import (
    WARM,
    BareArm,
    FarmArm,
    Workload,
    celery_arm,
    litserve_arm,
    same_bytes,
)
from genfarm.benchmark.frame import (
    Options,
    Peer,
    PeerFailed,
    peer,
    print_report,
    read_entries,
    read_options,
    redis_in,
    tell,
    tell_rounds,
)
from genfarm.farm import Farm
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.goodput import Goodput, spell_goodput
from genfarm_shared.measure import Arm, Part, Ratio, Report, interleave
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store

#: One thread, so that on two cores the engine has one and all else the other.
SETTINGS = "threads = 1\n"
#: A model whose cost is known: `engines/busy.py`.
REGISTRY = """
[models.busy]
kind = "drill"
engine = "busy"
slots = 64
description = "Computes for as long as it is told"
"""
OPENINGS = ("Once upon a time", "One rainy morning", "Long ago, in the village", "There was once")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(slots=True)
class _Stage:
    """What stands while arms take turns."""

    farm: Farm
    store: Store
    bare: Peer
    naive: Peer | None
    folder: Path
    notes: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, and print the report."""
    options = read_options("The whole farm beside its bare engine and its peers.")
    # For every process that is started from here.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    parts = []
    with tempfile.TemporaryDirectory(prefix="genfarm-bench-") as place:
        folder = Path(place)
        (folder / "config.toml").write_text(SETTINGS, encoding="utf-8")
        (folder / "models.toml").write_text(REGISTRY, encoding="utf-8")
        entries = read_entries(folder / "models.toml")
        wanted = [w for w in _workloads(entries, options) if options.wants(w.name)]
        if options.is_quick and not options.only:
            wanted = [w for w in wanted if w.name != "image"]  # its parts take a minute to load
        with _stage(folder, needs_celery=any(w.few for w in wanted)) as stage:
            for workload in wanted:
                parts.append(_measure(stage, workload, options.rounds))
    print_report(
        Report(
            "farm",
            "How much of the bare engine is left with a queue, a store, artefacts and events?",
            tuple(parts),
        )
    )


def _workloads(entries: Mapping[str, Mapping[str, Any]], options: Options) -> Iterator[Workload]:
    texts, tokens, few = (4, 8, 2) if options.is_quick else (320, 64, 16)
    prompts = [
        {"prompt": OPENINGS[n % len(OPENINGS)], "max_new_tokens": tokens, "seed": n}
        for n in range(texts)
    ]
    title = f"{texts} stories of at most {tokens} tokens"
    kind = "text-generation"
    yield Workload("text", title, kind, entries["stories"], prompts, 0.95, 10.0, few)
    pictures, few = (2, 1) if options.is_quick else (80, 6)
    prompts = [
        {"prompt": f"a handwritten {DIGITS[n % len(DIGITS)]}", "seed": n} for n in range(pictures)
    ]
    title = f"{pictures} drawn digits"
    yield Workload("image", title, "text-to-image", entries["digits"], prompts, 0.95, None, few)
    for name, seconds, many, goal in (("20ms", 0.02, 200, 0.95), ("1ms", 0.001, 3000, 0.80)):
        number = 20 if options.is_quick else many
        drills = [{"text": f"{n}", "seconds": seconds, "seed": n} for n in range(number)]
        title = f"{number} tasks of {1000 * seconds:g} ms of processor time, one a step"
        yield Workload(name, title, "drill", entries["busy"], drills, goal)


@contextmanager
def _stage(folder: Path, *, needs_celery: bool) -> Iterator[_Stage]:
    with ExitStack() as doors:
        tell("starting the farm and its peers")
        started = local.start(home=folder, workers=1, flower=False)
        doors.callback(started.stop)
        store = Store(started.store)
        doors.callback(store.close)
        farm = doors.enter_context(Farm(home=folder, progress=False))
        bare = doors.enter_context(peer("genfarm_workers.benchmark.bare", log=folder / "bare.log"))
        naive = None
        if needs_celery:
            (folder / "naive").mkdir()
            url = doors.enter_context(redis_in(folder / "naive"))
            log, module = folder / "naive.log", "genfarm_workers.benchmark.naive"
            naive = doors.enter_context(peer(module, "--broker", url, log=log))
        yield _Stage(farm, store, bare, naive, folder)


def _measure(stage: _Stage, workload: Workload, rounds: int) -> Part:
    tell(f"{workload.title}: loading models")
    farm = FarmArm(stage.farm, stage.store, workload)
    bare = BareArm(stage.bare, workload)
    farm.run(WARM)
    bare.run(WARM)
    farm.goodput = Goodput()  # that was loading
    arms, notes = [Arm("genfarm", farm.run), Arm("bare engine", bare.run)], []
    with ExitStack() as doors:
        if workload.few and stage.naive is not None:
            arms.append(celery_arm(stage.naive, workload))
            notes.append(
                f"naive celery (solo, one stock call a task, results in Redis) runs {workload.few} "
                "of them a round: its rate does not depend on how many"
            )
            found = _litserve(workload, stage.folder, doors)
            if isinstance(found, Arm):
                arms.append(found)
            else:
                notes.append(found)
        measured = interleave(arms, rounds, tell_rounds(workload.title))
    part = Part(workload.title, "tasks/s", measured)
    notes.append(f"goodput of the worker in its rounds: {spell_goodput(farm.goodput)}")
    files = ArtifactStore(Settings.load(home=stage.folder).artifacts_url)
    same = same_bytes(farm.records, bare.digests, files.read)
    return Part(part.title, part.unit, measured, tuple(_ratios(part, workload, same)), tuple(notes))


def _litserve(workload: Workload, folder: Path, doors: ExitStack) -> Arm | str:
    """The arm, or why there is none."""
    if find_spec("litserve") is None:
        return "LitServe is not installed: pip install 'genfarm[bench]'"
    try:
        return litserve_arm(workload, folder, doors)
    except PeerFailed as error:
        return str(error)


def _ratios(part: Part, workload: Workload, same: float) -> Iterator[Ratio]:
    ours = part.median("genfarm")
    yield Ratio("genfarm / bare engine", ours / part.median("bare engine"), workload.goal)
    for name, goal in (("naive celery", workload.over_celery), ("litserve", None)):
        if part.has(name):
            yield Ratio(f"genfarm / {name}", ours / part.median(name), goal)
    yield Ratio("results that are byte for byte the bare engine's", same, 1.0)


if __name__ == "__main__":
    main()
