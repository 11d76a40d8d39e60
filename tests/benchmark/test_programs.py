"""Benchmark programs as `genfarm bench` runs them, at sizes that only show that they run."""

import json
import subprocess
import sys

import pytest

from genfarm.benchmark.gpu import ENGINE, LOOP, NAIVE
from genfarm_shared.measure import Part, Report


def run(module: str, *options: str) -> Report:
    argv = [sys.executable, "-P", "-m", f"genfarm.benchmark.{module}", "--quick", "--rounds", "1"]
    done = subprocess.run([*argv, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Report.from_json(json.loads(done.stdout))


def value(part: Part, what: str) -> float:
    (found,) = [ratio.value for ratio in part.ratios if what in ratio.what]
    return found


def test_without_a_gpu_its_benchmark_says_that_the_figures_are_open() -> None:
    report = run("gpu", "--only", "text")
    arithmetic, memory, text = report.parts
    assert arithmetic.arms[0].median > 0
    assert memory.arms[0].median > 0
    assert value(text, "alone and in company") == 1.0
    assert any("GPU figures are open" in note for note in text.notes)
    goals = [ratio.goal for ratio in text.ratios if "same" not in ratio.what]
    assert goals == [None] * len(goals)


@pytest.mark.torture
def test_the_gpu_benchmarks_whole_dry_run_has_pictures_and_naive_celery() -> None:
    *_, text, image = run("gpu").parts
    for part in (text, image):
        assert {arm.name for arm in part.arms} == {ENGINE, NAIVE, LOOP}
        assert all(arm.median > 0 for arm in part.arms)
        assert value(part, "alone and in company") == 1.0


@pytest.mark.torture
def test_the_farms_results_are_those_of_the_bare_engine() -> None:
    parts = run("farm").parts
    assert len(parts) == 3
    for part in parts:
        assert value(part, "byte for byte") == 1.0
    assert parts[0].has("naive celery")
