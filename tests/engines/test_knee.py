"""How large a batch should be, as the device says."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Knee, Output
from genfarm_workers.engines.knee import find_knee, measure_knee, ordinary
from genfarm_workers.engines.registry import build

from .fakes import Claimer, FakeEngine, Runner

Entry = Callable[..., ModelEntry]


class Device:
    """Whose time is what its batches take: a fixed cost a call, and a cost a row beyond `wide`."""

    def __init__(self, wide: int = 64, most: int = 10_000) -> None:
        self.now = 0.0
        self.wide = wide
        self.most = most
        self.tried: list[int] = []

    def seconds_of(self, rows: int) -> float:
        self.tried.append(rows)
        if rows > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        seconds = max(1.0, rows / self.wide)
        self.now += seconds
        return seconds

    def find(self, fits: Callable[[int], bool] = lambda rows: True, until: float = 1e9) -> Knee:
        return find_knee(self.seconds_of, fits, lambda: self.now, until)


def test_rows_double_until_a_doubling_gains_next_to_nothing() -> None:
    device = Device(wide=64)
    assert device.find() == Knee(64, 64.0, "knee")
    assert device.tried == [1, 2, 4, 8, 16, 32, 64, 128]


def test_what_would_not_fit_is_not_tried() -> None:
    device = Device()
    assert device.find(fits=lambda rows: rows <= 16) == Knee(16, 16.0, "memory")
    assert max(device.tried) == 16


def test_what_did_not_fit_is_not_chosen_and_other_faults_are_no_want_of_memory() -> None:
    assert Device(most=20).find() == Knee(16, 16.0, "out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        Device(most=0).find()
    with pytest.raises(ValueError, match="broken"):
        find_knee(lambda rows: int("broken"), lambda rows: True, lambda: 0.0, 1.0)


def test_measuring_ends_in_its_time() -> None:
    device = Device(wide=1 << 20)
    assert device.find(until=5.0).how == "time"
    assert device.now <= 5.0


class Measured(FakeEngine):
    """Takes rows on demand, and counts a second a step and one more for every 8 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.fault: Failure | None = None
        #: Rows beyond which memory is short, and it makes its calls smaller by itself.
        self.fitting = 4096

    def resize(self, rows: int) -> None:
        assert not self.held
        self.slots = self.most_tasks = rows

    def step(self, now: float) -> list[Output]:
        self.now += 1.0 + len(self.held) // 8
        self.work.shortages += len(self.held) > self.fitting
        return [Output(o.task_id, failure=self.fault) for o in super().step(now)]


def test_an_engine_is_measured_with_ordinary_tasks_and_holds_none_after(entry: Entry) -> None:
    engine, model = Measured(), entry("m", "text-to-image", "image")
    found = measure_knee(engine, model, "cpu", lambda: engine.now)
    assert found is not None
    assert (found.rows, found.how) == (4, "knee")  # 4 / 1 s; 8 / 2 s gain nothing
    assert not engine.held
    assert engine.steps[0] == ["probe-0"]


def test_a_model_that_refuses_the_ordinary_task_keeps_the_usual_size(entry: Entry) -> None:
    engine, model = Measured(), entry("m", "text-to-image", "image")
    engine.fault = Failure("invalid_params", "too long")
    assert measure_knee(engine, model, "cpu", lambda: engine.now) is None
    assert not engine.held
    engine.fault = None
    assert measure_knee(engine, entry("s", "sleep", "sleep"), "cpu", lambda: 0.0) is None
    assert measure_knee(FakeEngine(), model, "cpu", lambda: 0.0) is None


def test_a_size_that_an_engine_computes_in_parts_is_out_of_memory(entry: Entry) -> None:
    """Else all workers would be told a size that none of them has the memory for."""
    engine, model = Measured(), entry("m", "text-to-image", "image")
    engine.fitting = 2
    found = measure_knee(engine, model, "cpu", lambda: engine.now)
    assert found is not None
    assert (found.rows, found.how) == (2, "out of memory")


def test_an_engine_that_owes_an_output_and_holds_nothing_is_not_waited_for(entry: Entry) -> None:
    engine, model = Measured(), entry("m", "text-to-image", "image")
    engine.admit = lambda claims: None  # type: ignore[method-assign]
    assert measure_knee(engine, model, "cpu", lambda: engine.now) is None


def test_a_gpu_is_measured_with_tasks_of_many_steps() -> None:
    assert ordinary("text-generation", "cuda")["max_new_tokens"] == 128
    assert ordinary("text-to-image", "cuda")["steps"] == 10
    assert ordinary("text-to-image", "cpu")["steps"] == 2
    assert ordinary("batch-floats", "cuda") == ordinary("batch-floats", "cpu")


def test_a_resized_engine_writes_what_one_built_so_writes(
    entry: Entry, claim: Claimer, run: Runner, text_folder: Path
) -> None:
    def make(slots: int) -> ModelEntry:
        source = str(text_folder)
        return entry("tiny", "text-generation", "text", source=source, slots=slots)

    tasks: Sequence[Claim] = [
        claim(f"t{n}", "text-generation", "tiny", prompt="Once", seed=n, max_new_tokens=8)
        for n in range(5)
    ]
    built, resized = build(make(4), "cpu"), build(make(1), "cpu")
    built.load()
    resized.load()
    resized.resize(4)  # type: ignore[attr-defined]
    assert resized.slots == 4
    assert [o.output for o in run(resized, tasks).values()] == [
        o.output for o in run(built, tasks).values()
    ]
