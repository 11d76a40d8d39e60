"""transformers' continuous batching as an engine; the oracle is the text engine."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.continuous import ContinuousTextEngine
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.resident import Resident
from genfarm_workers.engines.text import TextEngine

from .fakes import TEXTS, Claimer, Runner

Entries = Callable[..., ModelEntry]

WAYS: list[dict[str, Any]] = [
    {"prompt": TEXTS[0], "temperature": 0.0},
    {"prompt": "The", "seed": 2, "n": 2, "max_new_tokens": 20},
    {"prompt": TEXTS[1], "seed": 3, "top_k": 9, "top_p": 0.9, "min_p": 0.02},
    {"prompt": TEXTS[2], "seed": 4, "repetition_penalty": 1.5},
    {"prompt": "A dog", "seed": 5, "stop": ["e"]},
]


@pytest.fixture
def options(text_folder: Path) -> dict[str, Any]:
    return {"source": str(text_folder), "dtype": "float32", "limits": {"context": 160}}


@pytest.fixture
def engine(entry: Entries, options: dict[str, Any]) -> Iterator[ContinuousTextEngine]:
    built = build(entry("tiny", "text-generation", "text-continuous", **options), "cpu")
    assert isinstance(built, ContinuousTextEngine)
    built.load()
    yield built
    built.close()


def test_every_parameter_gives_the_text_of_the_text_engine(
    engine: ContinuousTextEngine,
    entry: Entries,
    options: dict[str, Any],
    claim: Claimer,
    run: Runner,
) -> None:
    slots = TextEngine(entry("tiny", "text-generation", "text", **options))
    slots.load()
    claims = [claim(f"t{i}", "text-generation", "tiny", **way) for i, way in enumerate(WAYS)]
    theirs, ours = run(engine, claims), run(slots, claims)
    for one in claims:
        assert theirs[one.task_id].output == ours[one.task_id].output


def test_a_dropped_task_frees_its_rows_and_the_others_end(
    engine: ContinuousTextEngine, claim: Claimer
) -> None:
    gone = claim("gone", "text-generation", "tiny", prompt="The", n=3, max_new_tokens=100)
    kept = claim("kept", "text-generation", "tiny", prompt="The", max_new_tokens=8)
    engine.admit([gone, kept])
    outputs = engine.step(0.0)
    engine.drop(["gone"])
    assert engine.free_rows("tiny") >= 3
    while engine.wakes_at(0.0) is not None:
        outputs += engine.step(0.0)
    assert [output.task_id for output in outputs] == ["kept"]


def test_after_an_error_in_its_thread_the_tasks_run_again_apart(
    engine: ContinuousTextEngine, claim: Claimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model fails once, as by a shortage of memory that passes."""
    resident, forward, calls = Resident(engine, lambda: 0.0), engine._language.model.forward, []

    def fail_first(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("a fault of the model")
        return forward(*args, **options)

    monkeypatch.setattr(engine._language.model, "forward", fail_first)
    for i in range(3):
        resident.enqueue(
            claim(f"t{i}", "text-generation", "tiny", prompt="The", seed=i, max_new_tokens=6)
        )
    outputs = []
    while resident.wakes_at(0.0) is not None:
        outputs += resident.advance()
    assert sorted(output.task_id for output in outputs) == ["t0", "t1", "t2"]
    assert not [output.failure for output in outputs if output.failure]
    assert torch.is_inference_mode_enabled() is False


def test_no_size_leaves_a_thread_behind_and_a_closed_engine_none(
    engine: ContinuousTextEngine, claim: Claimer, run: Runner
) -> None:
    before = threading.active_count()
    for rows in (1, 2, 4):
        engine.resize(rows)
    assert threading.active_count() == before
    engine.close()
    assert threading.active_count() == before - 1
    engine.resize(2)
    task = claim("t", "text-generation", "tiny", prompt="The", max_new_tokens=4)
    assert run(engine, [task])["t"].failure is None
