"""The benchmarks of draining and concurrency run as programs and print a report that can be read.

Tiny, and without a word on speed: what they measure is for a quiet machine.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genfarm.benchmark.drain import Sizes, _parts
from genfarm.benchmark.systems import Stuck, staged
from genfarm_shared.measure import Measured, Report


def report(program: str, *words: str) -> Report:
    command = [sys.executable, "-m", f"genfarm.benchmark.{program}", "--quick", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Report.from_json(json.loads(done.stdout))


def test_a_drain_is_held_against_the_best_of_each_kind() -> None:
    rates = {"genfarm": 90.0, "celery solo": 9.0, "celery threads": 10.0}
    rates |= {"celery solo + sql": 3.0, "huey": 30.0, "rq": 5.0}
    parts = _parts([Measured(name, (rate,)) for name, rate in rates.items()], Sizes(), ("gone",))
    found = [(ratio.what, ratio.value, ratio.is_met) for part in parts for ratio in part.ratios]
    assert found == [
        ("genfarm / celery threads", 9.0, True),
        ("genfarm / celery solo + sql", 30.0, True),
        ("genfarm / huey", 3.0, True),
    ]
    assert parts[-1].notes[1:] == ("gone",)


def test_celery_drains_fewer_tasks_where_it_keeps_results_and_the_part_says_so() -> None:
    sizes = Sizes(ours=20_000, theirs=2_000, kept=300)
    names = ("genfarm", "celery solo", "celery solo + sql", "huey")
    assert [sizes.of(name) for name in names] == [20_000, 2_000, 300, 2_000]
    bare, sql, *_ = _parts([Measured(name, (1.0,)) for name in names], sizes, ())
    assert "2,000 of each other" in bare.notes[0]
    assert "300 of stock Celery" in sql.notes[0]


@pytest.mark.torture
def test_a_drain_is_a_program_that_prints_a_report() -> None:
    part = report("drain", "--only", "celery solo").parts[0]
    assert [(arm.name, len(arm.values)) for arm in part.arms] == [("celery solo", 1)]


@pytest.mark.torture
def test_the_overhead_of_many_at_once_is_held_against_a_bare_loop() -> None:
    (part,) = report("concurrency").parts
    assert {arm.name for arm in part.arms} >= {"genfarm", "celery threads", "asyncio"}
    assert any(note.startswith("longer than 0.20 s: genfarm") for note in part.notes)


def test_a_system_whose_worker_ends_gives_no_figure_and_a_missing_one_a_note(
    tmp_path: Path,
) -> None:
    with staged(str(tmp_path / "no-python")) as stage:
        assert len(stage.missing()) == 5
        broken = stage.celery("no-such-pool", 1)
        with pytest.raises(Stuck, match="its worker ended"):
            stage.rate(broken, 1)
