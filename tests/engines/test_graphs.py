"""What is captured once and replayed: as far as it can be seen without a GPU."""

from collections.abc import Callable, Hashable
from pathlib import Path

import torch

from genfarm_workers.catalog import ModelEntry
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
