"""`genfarm bench drain`: tasks of no work through one worker, ours beside stock Celery and peers.

Each system is whole and its own: its tasks wait in Redis before its worker
starts, and it is timed from the first that is taken to the last that is let go
of, or whose result is stored. Ours claims every task, sends its events and
records every result in SQLite; what the others keep is said in the part's title.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from genfarm.benchmark.systems import Stage, System, staged
from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave

#: Threads of Celery's threads pool.
THREADS = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tasks of one run: some seconds of each system's work."""

    ours: int = 20_000
    theirs: int = 2_000
    #: Of stock Celery where it keeps results: it then drains tens or hundreds a second.
    kept: int = 300

    def of(self, name: str) -> int:
        if name == "genfarm":
            return self.ours
        return self.kept if _keeps(name) else self.theirs


QUICK = Sizes(1_000, 50, 50)
QUESTION = "How many tasks of no work does one worker finish in a second?"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one report."""
    parser = argparse.ArgumentParser(prog="genfarm bench drain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a dry run of few tasks")
    parser.add_argument("--only", default="", help="names of arms, comma-separated")
    parser.add_argument("--peers-python", default=sys.executable, help="what runs the peers")
    given = parser.parse_args(arguments)
    sizes = QUICK if given.quick else Sizes()
    with staged(given.peers_python) as stage:
        systems = _choose(stage, sizes.ours, given.only)
        arms = [_arm(stage, system, sizes.of(system.name)) for system in systems]
        found = interleave(arms, 1 if given.quick else given.rounds, _say)
        missing = () if given.only else tuple(stage.missing())
    json.dump(Report("drain", QUESTION, _parts(found, sizes, missing)).to_json(), sys.stdout)


def _choose(stage: Stage, window: int, only: str) -> list[System]:
    pools = {"threads": THREADS, "prefork": os.cpu_count() or 1, "solo": 1}
    systems = [stage.farm(window)]
    for backend in ("", "sql", "redis"):
        systems += [stage.celery(pool, number, backend) for pool, number in pools.items()]
    if not only:
        return systems + stage.peers()
    wanted = only.split(",")
    return [system for system in [*systems, *stage.peers()] if system.name in wanted]


def _keeps(name: str) -> bool:
    """Whether it is stock Celery with a result backend."""
    return name.startswith("celery") and "+" in name


def _arm(stage: Stage, system: System, total: int) -> Arm:
    return Arm(system.name, lambda: stage.rate(system, total))


def _parts(found: Sequence[Measured], sizes: Sizes, missing: tuple[str, ...]) -> tuple[Part, ...]:
    ours = [arm for arm in found if arm.name == "genfarm"]
    celery = [arm for arm in found if arm.name.startswith("celery")]
    bare = [arm for arm in celery if not _keeps(arm.name)]
    sql, kept = ([arm for arm in celery if arm.name.endswith(end)] for end in ("+ sql", "+ redis"))
    peers = [arm for arm in found if arm not in (*ours, *celery)]
    size = f"{sizes.ours:,} tasks of ours and {sizes.theirs:,} of each other, all queued before"
    fewer = (
        f"{sizes.ours:,} tasks of ours and {sizes.kept:,} of stock Celery, which takes seconds for "
        "as few where it keeps results; timed in the same way"
    )
    return (
        _part("stock Celery, no result kept", ours, bare, 8.0, (size,)),
        _part("stock Celery, results in SQLite", ours, sql, 20.0, (fewer,)),
        _part("stock Celery, results in Redis", ours, kept, None, (fewer,)),
        _part("other task queues, results in Redis", ours, peers, 1.0, (size, *missing)),
    )


def _part(
    title: str,
    ours: Sequence[Measured],
    others: Sequence[Measured],
    goal: float | None,
    notes: tuple[str, ...],
) -> Part:
    """Ours against the best of the others."""
    ratios: tuple[Ratio, ...] = ()
    if ours and others:
        best = max(others, key=lambda arm: arm.median)
        value = ours[0].median / best.median
        ratios = (Ratio(f"genfarm / {best.name}", round(value, 2), goal),)
    return Part(title, "tasks/s", (*ours, *others), ratios, notes)


def _say(done: int, of: int, arm: str) -> None:
    sys.stderr.write(f"{done} of {of}: {arm}\n")


if __name__ == "__main__":
    main()
