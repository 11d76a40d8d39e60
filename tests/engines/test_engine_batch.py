"""What engines share that run batches: rows, short and long tasks, drops, refusals."""

from collections.abc import Sequence

import pytest

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.batch import BatchEngine, Row

from .fakes import Claimer, Runner


class Echo(BatchEngine[str]):
    """Answers with its rows, and refuses the seed 13."""

    def load(self) -> None:
        self.batches: list[int] = []
        self.gone: list[str] = []

    def refusal(self, claim: Claim) -> Failure | None:
        return Failure("invalid_params", "unlucky") if claim.seed == 13 else None

    def run(self, rows: Sequence[Row]) -> Sequence[str]:
        self.batches.append(len(rows))
        self.drop(self.gone)
        return [f"{row.claim.task_id}.{row.k}" for row in rows]

    def finish(self, claim: Claim, pieces: Sequence[str]) -> Output:
        return Output(claim.task_id, output={"texts": list(pieces)})


@pytest.fixture
def echo() -> Echo:
    entry = ModelEntry(key="echo", kind="text-generation", engine="text", slots=4)
    engine = Echo(entry)
    engine.load()
    return engine


def test_a_task_of_more_rows_than_slots_runs_in_several_steps(echo: Echo, claim: Claimer) -> None:
    echo.admit([claim("a", "text-generation", "echo", prompt="x", n=6)])
    assert echo.step(0.0) == []
    (output,) = echo.step(0.0)
    assert output.output == {"texts": [f"a.{k}" for k in range(6)]}
    assert echo.batches == [4, 2]
    assert (echo.work.computed, echo.work.useful) == (8, 6)


def test_a_refused_task_fails_beside_those_that_run(
    echo: Echo, claim: Claimer, run: Runner
) -> None:
    tasks = [claim(str(s), "text-generation", "echo", prompt="x", seed=s) for s in (12, 13)]
    outputs = run(echo, tasks)
    assert outputs["12"].output == {"texts": ["12.0"]}
    assert outputs["13"].failure == Failure("invalid_params", "unlucky")


def test_a_task_dropped_while_its_batch_runs_never_comes_back(echo: Echo, claim: Claimer) -> None:
    echo.gone = ["a"]
    echo.admit([claim(name, "text-generation", "echo", prompt="x") for name in "ab"])
    assert [output.task_id for output in echo.step(0.0)] == ["b"]
    assert echo.wakes_at(0.0) is None
    assert echo.free_rows("echo") == 4


def test_rows_of_a_task_have_seeds_of_their_own(claim: Claimer) -> None:
    task = claim("a", "text-generation", "echo", prompt="x", seed=5, n=3)
    seeds = [Row(task, k).seed for k in range(3)]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3


class Scarce(Echo):
    """Has memory for `most` rows, and drops a task whenever there was too little."""

    most = 1

    def run(self, rows: Sequence[Row]) -> Sequence[str]:
        self.batches.append(self.padded)
        if self.padded > self.most:
            self.drop(self.gone)
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return [f"{row.claim.task_id}.{row.k}" for row in rows]


def test_a_batch_that_memory_is_not_enough_for_runs_again_in_halves(claim: Claimer) -> None:
    engine = Scarce(ModelEntry(key="echo", kind="text-generation", engine="text", slots=4))
    engine.load()
    engine.gone = ["b"]
    engine.admit([claim(name, "text-generation", "echo", prompt="x") for name in "abc"])
    assert [output.task_id for output in engine.step(0.0)] == ["a", "c"]
    assert engine.batches == [4, 2, 1, 1]
    assert (engine.work.shortages, engine.work.computed, engine.work.useful) == (2, 2, 2)
    engine.admit([claim("d", "text-generation", "echo", prompt="x")])
    engine.step(0.0)
    assert engine.batches[4:] == [1]


def test_one_row_that_memory_is_not_enough_for_raises(claim: Claimer) -> None:
    engine = Scarce(ModelEntry(key="echo", kind="text-generation", engine="text", slots=2))
    engine.load()
    engine.most = 0
    engine.admit([claim("a", "text-generation", "echo", prompt="x")])
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.step(0.0)


def test_between_two_tasks_that_are_admitted_there_is_a_tick_and_room_for_a_drop(
    claim: Claimer,
) -> None:
    checked: list[list[str]] = []

    def tick() -> None:
        checked.append(list(engine._pieces))
        engine.drop(["a", "c"])

    entry = ModelEntry(key="echo", kind="text-generation", engine="text", slots=4)
    engine = Echo(entry, "cpu", tick)
    engine.load()
    engine.admit([claim(name, "text-generation", "echo", prompt="x") for name in "abcd"])
    assert checked == [["a"], ["b"], ["b"]]
    assert engine.free_rows("echo") == 2
    assert [output.task_id for output in engine.step(0.0)] == ["b", "d"]
    assert engine.wakes_at(0.0) is None
