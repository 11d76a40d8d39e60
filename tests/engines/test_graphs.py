"""What is captured once and replayed: as far as it can be seen without a GPU."""

from collections.abc import Callable, Hashable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import launches
from genfarm_workers.engines.ensemble import Units
from genfarm_workers.engines.graphs import Graphs
from genfarm_workers.engines.slots import SlotDecoder
from genfarm_workers.engines.text import TextEngine

from .fakes import TEXTS, Claimer


class Watching(Graphs):
    """Runs plainly, and notes which keys would have been replayed on tensors that are gone."""

    def __init__(self, decoder: SlotDecoder) -> None:
        super().__init__("cpu")
        self._decoder = decoder
        self._seen: dict[Hashable, int] = {}
        self.addresses: set[int] = set()
        self.stale: list[Hashable] = []

    def run(self, key: Hashable, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        address = self._decoder._cache._layers[0].keys.data_ptr()
        self.addresses.add(address)
        if self._seen.setdefault(key, address) != address:
            self.stale.append(key)
        return super().run(key, work)

    def forget(self) -> None:
        self._seen.clear()


def test_steps_captured_before_a_prompt_made_the_cache_grow_are_forgotten(
    text_folder: Path, entry: Callable[..., ModelEntry], claim: Claimer
) -> None:
    engine = TextEngine(entry("tiny", "text-generation", "text", source=str(text_folder)))
    engine.load()
    assert isinstance(engine._decoder, SlotDecoder)
    watching = engine._decoder._graphs = Watching(engine._decoder)
    short = claim("short", "text-generation", "tiny", prompt="The", max_new_tokens=30)
    prompt = TEXTS[0] * 8
    long = claim("long", "text-generation", "tiny", prompt=prompt, max_new_tokens=1)
    engine.admit([short])
    engine.step(0.0)
    engine.admit([long])
    while engine.wakes_at(0.0) is not None:
        engine.step(0.0)
    assert len(watching.addresses) == 2
    assert watching.stale == []


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What of torch's captures needs a GPU, without one; a list of the streams that were made."""
    made: list[str] = []

    class Stream:
        def __init__(self) -> None:
            made.append("stream")

        def wait_stream(self, other: object) -> None: ...

    class Graph:
        def replay(self) -> None: ...

    for name, value in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": lambda *_, **__: nullcontext(),
        "stream": lambda *_: nullcontext(),
        "current_stream": lambda: Stream.__new__(Stream),
        "graph_pool_handle": object,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return made


def test_a_capture_that_memory_is_short_for_is_tried_again(device: list[str]) -> None:
    graphs, calls = Graphs("cuda"), 0

    def work() -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return torch.ones(1)

    graphs.run("key", work)
    with pytest.raises(torch.OutOfMemoryError):
        graphs.run("key", work)
    for _ in range(3):
        graphs.run("key", work)
    assert calls == 3  # the capture; the others are replays
    graphs.run("other key", work)
    assert device == ["stream"]


def test_the_shape_that_was_drawn_longest_ago_makes_room_for_another(device: list[str]) -> None:
    graphs, calls = launches.Graphs(), list[int]()

    def denoise(rows: torch.Tensor) -> torch.Tensor:
        calls.append(len(rows))
        return rows

    def captures(rows: int) -> bool:
        calls.clear()
        graphs.launch(denoise, (torch.zeros(rows),), {}, Units([rows], 0))
        return bool(calls)

    assert [captures(rows) for rows in (1, 2, 3, 4, 1, 5)] == [True] * 4 + [False, True]
    assert not captures(1)
    assert captures(2)
    assert device == ["stream"]
