"""Weights in the layout of the CPU's matrix unit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.parking import weight_bytes
from genfarm_workers.engines.text import TextEngine

Making = Callable[[int], TextEngine]


@pytest.fixture
def make(tmp_path: Path, text_folder: Path, entry: Callable[..., ModelEntry]) -> Making:
    """Engines of a model wide enough to be laid out anew, by their slots."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = shutil.copytree(text_folder, tmp_path / "wide")
    config = GPT2Config.from_pretrained(folder, n_embd=384, n_layer=1)
    GPT2LMHeadModel(config).to(torch.bfloat16).save_pretrained(folder)

    def engine_of(slots: int) -> TextEngine:
        options = {"source": str(folder), "dtype": "bfloat16", "slots": slots}
        engine = TextEngine(entry("wide", "text-generation", "text", **options))
        engine.load()
        return engine

    return engine_of


@torch.inference_mode()
def test_a_resized_model_rounds_as_one_that_was_loaded_so_and_its_bytes_are_counted(
    make: Making,
) -> None:
    """A worker that measures loads for one row, the next one for what was measured."""
    resized, built = make(1), make(64)
    resized.resize(64)
    states = torch.randn(64, 1536).to(torch.bfloat16)
    found = [engine.modules()[0].transformer.h[0].mlp.c_proj(states) for engine in (resized, built)]
    assert torch.equal(*found)
    # The matrices of its layer alone.
    assert weight_bytes(built) > 12 * 384 * 384 * 2
