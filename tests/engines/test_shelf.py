"""Several models in the memory of one engine process."""

import json
import struct
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine
from genfarm_workers.engines.parking import park, unpark, weight_bytes
from genfarm_workers.engines.registry import build, no_tick
from genfarm_workers.engines.resident import Resident
from genfarm_workers.engines.text import TextEngine
from genfarm_workers.shelf import Budget, Shelf

from .fakes import Claimer, FakeEngine, Runner
from .test_knee import Measured

Entry = Callable[..., ModelEntry]


class Party:
    """A shelf of fake engines whose files are so many bytes large."""

    def __init__(self, folder: Path, entry: Entry, budget: int, **sizes: int) -> None:
        self.said: list[dict[str, Any]] = []
        self.engine_of: Callable[[], Engine] = FakeEngine
        catalog = {key: self._entry(entry, folder / key, size) for key, size in sizes.items()}
        self.budget = Budget("cpu", budget)
        clock = count(0.0, 1.0).__next__
        self.shelf = Shelf(catalog, self.build, clock, self.say, no_tick, self.budget)

    def build(self, entry: ModelEntry, tick: object) -> Engine:
        return self.engine_of()

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def ops(self) -> list[str]:
        said = [f"{message['op']} {message['model']}" for message in self.said]
        self.said.clear()
        return said

    def held(self, model: str) -> Resident:
        found = self.shelf.find(model)
        assert isinstance(found, Resident)
        return found

    def _entry(self, entry: Entry, folder: Path, size: int) -> ModelEntry:
        write_head(folder, size)
        return entry(folder.name, "text-to-image", "image", source=str(folder))


def write_head(folder: Path, size: int) -> None:
    """Safetensors files whose heads speak of so many bytes of float32; there is no more."""
    folder.mkdir()
    head = json.dumps({"weight": {"dtype": "F16", "shape": [2, size // 8], "data_offsets": [0, 0]}})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head.encode())


@pytest.fixture
def party(tmp_path: Path, entry: Entry) -> Party:
    return Party(tmp_path, entry, 1000, first=8, a=400, b=400, c=400, huge=1 << 60, large=2000)


@pytest.fixture
def task(claim: Claimer) -> Callable[[str], Claim]:
    return lambda model: claim(f"of {model}", "text-to-image", model, prompt="x")


def test_what_was_used_longest_ago_makes_room(party: Party) -> None:
    for model in ("first", "a", "b", "a", "c"):
        party.held(model)
    assert party.ops()[-3:] == ["evicted b", "loading c", "loaded c"]
    assert sorted(party.shelf.held) == ["a", "c", "first"]


def test_a_model_with_work_stays_and_who_needs_its_room_waits(
    party: Party, task: Callable[[str], Claim]
) -> None:
    for model in "ab":
        party.held(model).enqueue(task(model))
    party.ops()
    assert party.shelf.find("c") is None
    assert party.shelf.find("c") is None
    assert party.ops() == ["wanting c"]
    party.held("b").advance()
    assert party.held("c")
    assert party.ops() == ["evicted b", "loading c", "loaded c"]


def test_what_has_ended_is_told_before_a_model_is_put_away(party: Party) -> None:
    """By the tick, on which the loop sends what it has gathered."""
    held_then: list[list[str]] = []
    for model in ("first", "a", "b"):
        party.held(model)
    party.shelf._tick = lambda: held_then.append(sorted(party.shelf.held))
    party.held("c")
    assert held_then[0] == ["a", "b", "first"]


def test_an_engine_whose_parts_refer_to_themselves_leaves_no_memory_behind(party: Party) -> None:
    """What was loaded is set aside, out of the collector's rounds, and comes back into one."""

    class Layer:
        def __init__(self) -> None:
            self.itself = self

    class Knotted(FakeEngine):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Layer()

    party.engine_of = Knotted
    for model in ("first", "a", "b"):
        party.held(model)
    layers = [cast(Knotted, party.shelf._engines[model]).layer for model in ("a", "b")]
    gone, kept = map(weakref.ref, layers)
    del layers
    party.held("c")
    assert gone() is None
    assert kept() is not None


def test_the_files_of_a_model_that_waits_are_read_once(
    party: Party, task: Callable[[str], Claim], tmp_path: Path
) -> None:
    """Else each step of the others would read them."""
    for model in "ab":
        party.held(model).enqueue(task(model))
    assert party.shelf.find("c") is None
    (tmp_path / "c" / "model.safetensors").unlink()
    assert party.shelf.find("c") is None
    assert "loading c" not in party.ops()


def test_a_model_larger_than_the_budget_is_loaded_alone(
    party: Party, task: Callable[[str], Claim]
) -> None:
    party.held("a").enqueue(task("a"))
    assert party.shelf.find("large") is None
    party.held("a").advance()
    assert party.held("large")
    assert list(party.shelf.held) == ["large"]


def test_a_model_larger_than_the_device_is_refused_with_both_sizes(party: Party) -> None:
    found = party.shelf.find("huge")
    assert isinstance(found, Failure)
    assert found.code == "model_unavailable"
    assert "1152921504.6 GB" in found.message
    assert "this device has" in found.message
    assert party.ops() == ["loading huge", "unloadable huge"]


def test_a_measured_model_runs_nothing_until_it_hears_what_stands(
    tmp_path: Path, entry: Entry, task: Callable[[str], Claim]
) -> None:
    engine = Measured()
    model = ModelEntry(key="m", kind="text-to-image", engine="image")
    said: list[dict[str, Any]] = []
    shelf = Shelf(
        {"m": model}, lambda *_: engine, lambda: engine.now, said.append, no_tick, Budget()
    )
    found = shelf.find("m")
    assert isinstance(found, Resident)
    found.enqueue(task("m"))
    assert [(m["op"], m.get("rows")) for m in said[1:]] == [("measured", 4), ("loaded", None)]
    assert not shelf.active()
    shelf.settle("m", 2)
    assert engine.slots == 2
    assert list(shelf.active()) == ["m"]


def test_the_load_that_brings_the_libraries_in_tells_of_no_reload(party: Party) -> None:
    """Else a model that was loaded first would be held as if it were the dearest."""
    for model in "ab":
        party.held(model)
    first, second = [said["reload"] for said in party.said if said["op"] == "loaded"]
    assert first < 1.0 <= second


@pytest.fixture
def parked(party: Party, text_folder: Path) -> Party:
    """As on a GPU: what is evicted waits in the host's memory."""
    party.budget.parks = True
    source = ModelEntry(
        key="t", kind="text-generation", engine="text", source=str(text_folder), slots=4
    )
    party.engine_of = lambda: build(source, "cpu")
    return party


def test_a_parked_model_comes_back_without_its_files(parked: Party) -> None:
    first = parked.held("a")
    parked.held("b")
    assert [said["parked"] for said in parked.said if said["op"] == "evicted"] == [True]
    assert parked.held("a") is first


def test_a_model_that_memory_is_too_short_to_park_is_unloaded(
    parked: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(engine: TextEngine, rows: int) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")

    first = parked.held("a")
    monkeypatch.setattr(TextEngine, "resize", short)
    parked.held("b")
    assert [said["parked"] for said in parked.said if said["op"] == "evicted"] == [False]
    assert parked.held("a") is not first


def test_an_engine_with_a_thread_is_closed_as_it_goes(party: Party) -> None:
    class Threaded(FakeEngine):
        is_open = True

        def close(self) -> None:
            self.is_open = False

    engines: list[Threaded] = []

    def make() -> Engine:
        engines.append(Threaded())
        return engines[-1]

    party.engine_of = make
    party.held("a")
    party.held("large")
    assert [engine.is_open for engine in engines] == [False, True]


def test_a_parked_engine_writes_the_same_bytes_when_it_is_back(
    entry: Entry, claim: Claimer, run: Runner, text_folder: Path
) -> None:
    engine = build(entry("tiny", "text-generation", "text", source=str(text_folder)), "cpu")
    engine.load()
    tasks = [claim("t", "text-generation", "tiny", prompt="Once", seed=1, max_new_tokens=8)]
    before = run(engine, tasks)["t"].output
    park(engine)
    assert engine.slots == 1
    unpark(engine, "cpu", 4)
    assert run(engine, tasks)["t"].output == before
    assert weight_bytes(engine) > 100_000
    assert weight_bytes(FakeEngine()) == 0
