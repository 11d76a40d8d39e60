"""The engines without model files: sleep, floats and drill."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from genfarm_shared.drill import answer, pixels
from genfarm_shared.kinds.demos import Drill
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.drill import FAULTS, TOO_MANY, DrillEngine
from genfarm_workers.engines.floats import CHUNK, FloatsEngine
from genfarm_workers.engines.sleep import SleepEngine

from .fakes import Claimer, Runner, pictures_of

Entry = Callable[..., ModelEntry]


@pytest.fixture
def floats(entry: Entry) -> FloatsEngine:
    engine = FloatsEngine(entry("floats", "batch-floats", "floats"))
    engine.load()
    return engine


def test_a_sleeper_ends_its_seconds_after_the_first_step_that_saw_it(
    entry: Entry, claim: Claimer
) -> None:
    engine = SleepEngine(entry("sleep", "sleep", "sleep"))
    engine.admit([claim("long", "sleep", "sleep", seconds=3.0)])
    engine.admit([claim("short", "sleep", "sleep", seconds=1.0)])
    assert engine.wakes_at(100.0) == 100.0
    assert engine.step(100.0) == []
    assert engine.wakes_at(100.5) == 101.0
    assert [output.task_id for output in engine.step(101.0)] == ["short"]
    assert engine.wakes_at(101.0) == 103.0
    assert engine.step(103.5)[0].output == {"slept_seconds": 3.0}
    assert engine.wakes_at(104.0) is None


def test_a_dropped_sleeper_frees_its_row(entry: Entry, claim: Claimer) -> None:
    engine = SleepEngine(entry("sleep", "sleep", "sleep"))
    engine.admit([claim(name, "sleep", "sleep", seconds=3.0) for name in "ab"])
    engine.step(0.0)
    engine.drop(["a"])
    assert engine.free_rows("sleep") == 3
    assert [output.task_id for output in engine.step(9.0)] == ["b"]


def test_sleeping_imports_no_torch() -> None:
    program = (
        "import sys; from genfarm_workers.catalog import read_catalog;"
        "from genfarm_workers.engines.registry import build;"
        "build(read_catalog()['sleep'], 'cpu').load(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_floats_are_bit_equal_alone_and_in_company(
    floats: FloatsEngine, claim: Claimer, run: Runner
) -> None:
    lists = [[0.5], [1.0, -2.0, 1e300], [i / 7 for i in range(3 * CHUNK)], [0.5, 0.25]]
    claims = [claim(f"t{i}", "batch-floats", "floats", values=v) for i, v in enumerate(lists)]
    together = run(floats, claims)
    for one, values in zip(claims, lists, strict=True):
        outputs = together[one.task_id].output
        assert outputs is not None
        assert len(outputs["values"]) == len(values)
        assert run(floats, [one])[one.task_id].output == outputs


def test_equal_floats_have_equal_outputs_at_any_place(
    floats: FloatsEngine, claim: Claimer, run: Runner
) -> None:
    one = claim("t", "batch-floats", "floats", values=[0.3] * (CHUNK + 37))
    outputs = run(floats, [one])["t"].output
    assert outputs is not None
    assert len(set(outputs["values"])) == 1


def test_a_drill_answers_what_anybody_can_compute(
    entry: Entry, claim: Claimer, run: Runner
) -> None:
    engine = DrillEngine(entry("drill", "drill", "drill"))
    drills = [claim(str(i), "drill", "drill", text="x", seed=i, picture=True) for i in range(3)]
    outputs = run(engine, drills)
    assert [outputs[str(i)].output for i in range(3)] == [
        {"answer": answer(i, "x")} for i in range(3)
    ]
    assert [pictures_of(outputs[str(i)])[0].rgb for i in range(3)] == [
        pixels(i, "x") for i in range(3)
    ]


def test_a_drill_goes_wrong_for_as_many_attempts_as_it_was_asked_to(
    entry: Entry, claim: Claimer
) -> None:
    engine = DrillEngine(entry("drill", "drill", "drill"))
    once = claim("a", "drill", "drill", fault="raise", faulty_attempts=1)
    engine.admit([once])
    with pytest.raises(ValueError, match="a drill"):
        engine.step(0.0)
    engine.drop(["a"])
    engine.admit([replace(once, attempt=2)])
    assert [output.task_id for output in engine.step(0.0)] == ["a"]


def test_a_drill_runs_out_of_memory_only_among_many(entry: Entry, claim: Claimer) -> None:
    engine = DrillEngine(entry("drill", "drill", "drill"))
    drills = [claim(str(i), "drill", "drill", fault="oom-batch") for i in range(TOO_MANY + 1)]
    engine.admit(drills[:TOO_MANY])
    assert len(engine.step(0.0)) == TOO_MANY
    engine.admit(drills)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.step(0.0)


def test_every_fault_that_a_drill_may_ask_for_is_there() -> None:
    asked = set(get_args(Drill.model_fields["fault"].annotation))
    assert asked == {"none", "bad-output", *FAULTS}
