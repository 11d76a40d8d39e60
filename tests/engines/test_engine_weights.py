"""Where weights are looked for, and what a person reads when they are not there."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.weights import find_weights

Entry = Callable[..., ModelEntry]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def said(entry: ModelEntry) -> str:
    with pytest.raises(ModelUnavailable) as refused:
        build(entry, "cpu").load()
    assert entry.key in str(refused.value)
    return str(refused.value)


def test_a_missing_directory_is_named(entry: Entry, tmp_path: Path) -> None:
    message = said(entry("my", "text-generation", "text", source=str(tmp_path / "gone")))
    assert "gone" in message
    assert "models.toml" in message


@pytest.mark.parametrize("engine", ["text", "image"])
def test_weights_that_are_not_safetensors_are_refused(
    entry: Entry, text_folder: Path, tmp_path: Path, engine: str
) -> None:
    folder = shutil.copytree(text_folder, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "*.safetensors" in said(entry("my", "text-generation", engine, source=str(folder)))


def test_a_folder_of_another_sort_is_refused(entry: Entry, text_folder: Path) -> None:
    message = said(entry("my", "text-to-image", "image", source=str(text_folder)))
    assert "not a text-to-image pipeline" in message
    folder = text_folder.parent / "other"
    folder.mkdir(exist_ok=True)
    (folder / "x.safetensors").write_bytes(b"")
    message = said(entry("my", "text-generation", "text", source=str(folder)))
    assert "not a causal language model" in message


def test_a_hub_model_that_is_not_cached_says_so_at_once(entry: Entry, hub: Path) -> None:
    started = time.monotonic()
    message = said(entry("gpt2", "text-generation", "text", source="openai-community/gpt2@main"))
    assert "model 'gpt2'" in message
    assert "not in the local cache and the hub cannot be reached" in message
    assert "hf download openai-community/gpt2" in message
    assert time.monotonic() - started < 5


def test_a_cached_hub_model_is_found_without_the_hub(
    entry: Entry, hub: Path, text_folder: Path
) -> None:
    repo = hub / "models--someone--small"
    shutil.copytree(text_folder, repo / "snapshots" / "0123abcd")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123abcd")
    found = find_weights(entry("small", "text-generation", "text", source="someone/small"))
    assert found.name == "0123abcd"


def test_an_unknown_engine_and_dtype_are_named(entry: Entry, text_folder: Path) -> None:
    assert "expected one of text, " in said(entry("x", "sleep", "warp"))
    source = str(text_folder)
    message = said(entry("x", "text-generation", "text", source=source, dtype="int7"))
    assert "int7" in message
