"""`genfarm bench concurrency`: tasks that wait two seconds, many at once in one worker.

The limit is a program that does nothing else: goroutines where `go` is on PATH,
and an asyncio loop. Ours records every result in SQLite, stock Celery keeps
none; both find their tasks queued, and are timed from the first that is taken.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from genfarm.benchmark.systems import Stage, Stuck, staged
from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave

SECONDS, QUICK_SECONDS = 2.0, 0.2
#: Tasks at once, each with the part of the limit's rate that ours should reach: within 3 % and
#: 6 % of its time.
SIZES = {5: None, 100: 1 / 1.03, 500: 1 / 1.06}
GOROUTINES = Path(__file__).with_name("goroutines.go")

QUESTION = "How much longer than one task do many at once take in one worker?"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one report."""
    parser = argparse.ArgumentParser(prog="genfarm bench concurrency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a dry run of short tasks")
    given = parser.parse_args(arguments)
    seconds = QUICK_SECONDS if given.quick else SECONDS
    sizes = [5] if given.quick else list(SIZES)
    with staged() as stage:
        go = _compile(stage.home)
        parts = [
            _part(total, seconds, interleave(_arms(stage, go, total, seconds), rounds, _say))
            for total in sizes
            for rounds in [1 if given.quick else given.rounds]
        ]
    json.dump(Report("concurrency", QUESTION, tuple(parts)).to_json(), sys.stdout)


def _arms(stage: Stage, go: Path | None, total: int, seconds: float) -> list[Arm]:
    farm, celery = stage.farm(total, is_done_when_recorded=True), stage.celery("threads", total)
    arms = [
        Arm("genfarm", lambda: stage.rate(farm, total, seconds)),
        Arm("celery threads", lambda: stage.rate(celery, total, seconds)),
        Arm("asyncio", lambda: _sleep(total, seconds)),
    ]
    if go is not None:
        arms.append(Arm("goroutines", lambda: _run_goroutines(go, total, seconds)))
    return arms


def _part(total: int, seconds: float, found: tuple[Measured, ...]) -> Part:
    medians = {arm.name: arm.median for arm in found}
    limit = "goroutines" if "goroutines" in medians else "asyncio"
    value = medians["genfarm"] / medians[limit]
    over = ", ".join(
        f"{name} {100 * (total / median / seconds - 1):.1f} %" for name, median in medians.items()
    )
    notes = [f"longer than {seconds:.2f} s: {over}"]
    if limit == "asyncio":
        notes.append(f"go is not on PATH: the limit is an asyncio loop; ideal is {seconds:.2f} s")
    ratios = (Ratio(f"genfarm / {limit}", round(value, 4), SIZES[total]),)
    return Part(f"{total} tasks of {seconds} s", "tasks/s", found, ratios, tuple(notes))


def _sleep(total: int, seconds: float) -> float:
    """The bare loop: nothing but as many timers."""

    async def run() -> None:
        await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(total)))

    began = time.perf_counter()
    asyncio.run(run())
    return total / (time.perf_counter() - began)


def _compile(home: Path) -> Path | None:
    """The goroutine program, compiled; None where there is no compiler."""
    compiler = shutil.which("go")
    if compiler is None:
        return None
    program = home / "goroutines"
    command = [compiler, "build", "-o", str(program), str(GOROUTINES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stuck(f"{GOROUTINES.name} does not compile: {done.stderr.strip()}")
    return program


def _run_goroutines(program: Path, total: int, seconds: float) -> float:
    command = [str(program), str(total), str(seconds)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return total / float(said)


def _say(done: int, of: int, arm: str) -> None:
    sys.stderr.write(f"{done} of {of}: {arm}\n")


if __name__ == "__main__":
    main()
