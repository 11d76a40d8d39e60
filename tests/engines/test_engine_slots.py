"""Slots beyond one token at a time: kept prefixes, several steps a look, watching, accounting."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.prefix import CHUNK, PrefixStore
from genfarm_workers.engines.slots import Pace, SlotDecoder
from genfarm_workers.engines.static import StaticDecoder
from genfarm_workers.engines.text import TextEngine, pace_of

from .fakes import TEXTS, Claimer, Runner

Making = Callable[..., TextEngine]

WAYS: list[dict[str, Any]] = [
    {"prompt": TEXTS[0], "temperature": 0.0, "max_new_tokens": 29},
    {"prompt": "The", "seed": 2, "n": 2, "max_new_tokens": 20},
    {"prompt": TEXTS[1], "seed": 3, "top_k": 9, "top_p": 0.9, "min_p": 0.02},
    {"prompt": TEXTS[2], "seed": 4, "repetition_penalty": 1.5, "max_new_tokens": 40},
    {"prompt": "A dog", "seed": 5, "stop": ["e"], "temperature": 1.5},
    {"prompt": TEXTS[1] * 2, "seed": 6, "repetition_penalty": 0.7, "temperature": 0.0},
    {"prompt": "x", "seed": 7, "max_new_tokens": 1},
]


def some_ids(count: int, start: int = 0) -> list[int]:
    return [(31 * place + 7) % 300 + 1 for place in range(start, start + count)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_bit_equal_whether_the_prefix_was_kept_or_computed(
    text_engine: Making, dtype: str
) -> None:
    language = text_engine(dtype=dtype)._language
    anew, keeping = SlotDecoder(language, 2), SlotDecoder(language, 2, Pace(prefix_bytes=2**24))
    keeping.prefill(some_ids(200), [0])
    computed = keeping.work.computed
    for length in (129, 130, 160, 161, 200, 256):
        ids = some_ids(length)
        assert torch.equal(keeping.prefill(ids, [1]), anew.prefill(ids, [1]))
        step = ([5, 6], [200, min(length, 255)])
        assert torch.equal(keeping.decode(*step)[1], anew.decode(*step)[1])
    # Six prompts, of which only what comes behind the first 128 tokens is computed.
    assert keeping.work.computed - computed == 32 + 32 + 32 + 64 + 96 + 128


def test_a_prefix_is_found_by_all_its_tokens_and_the_oldest_goes_first() -> None:
    chunk = [(torch.zeros(1, 1, CHUNK, 4), torch.ones(1, 1, CHUNK, 4))]
    store = PrefixStore(budget_bytes=2 * CHUNK * 2 * 4 * 4)
    one, other = some_ids(CHUNK), some_ids(CHUNK, start=1)
    store.keep(one, chunk)
    store.keep(other, chunk)
    assert store.find([*one, 1])[0] == CHUNK
    assert store.find(one)[0] == 0  # its last token has to be computed
    assert store.find([9, *one])[0] == 0
    store.keep(some_ids(CHUNK, start=2), chunk)
    assert store.find([*one, 1])[0] == CHUNK
    assert store.find([*other, 1])[0] == 0


@pytest.mark.parametrize(("dtype", "steps"), [("float32", 7), ("bfloat16", 4)])
def test_several_steps_a_look_write_what_single_steps_write(
    text_engine: Making, claim: Claimer, run: Runner, dtype: str, steps: int
) -> None:
    """By the step that a GPU captures: the same buffers, kernels for all rows alike."""
    engine = text_engine(dtype=dtype)
    claims = [claim(f"t{i}", "text-generation", "tiny", **way) for i, way in enumerate(WAYS)]
    single = run(engine, claims)
    engine._decoder = SlotDecoder(engine._language, 4, Pace(steps=steps, is_uniform=True))
    several = run(engine, claims)
    for one in claims:
        assert single[one.task_id].output == several[one.task_id].output


def test_an_end_of_text_within_a_look_ends_the_row_there(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    """Any token may be made the end of text: the text is cut at it, with any number of steps."""
    engine = text_engine()
    one = claim("t", "text-generation", "tiny", prompt="The", seed=1, max_new_tokens=30)
    engine.admit([one])
    engine.step(0.0)
    while engine.glimpses(["t"])[0].done < 10:
        engine.step(0.0)
    tenth = engine._tasks["t"].rows[0].last_token
    engine.drop(["t"])
    ending = replace(engine._language, eos_ids=frozenset([0, tenth]))
    engine._language = ending
    outputs = []
    for pace in (Pace(), Pace(steps=6), Pace(steps=6, is_uniform=True)):
        engine._decoder = SlotDecoder(ending, 4, pace)
        outputs.append(run(engine, [one])["t"])
    assert outputs[0].output == outputs[1].output == outputs[2].output
    assert outputs[0].output["finish_reason"] == ["stop"]  # type: ignore[index]
    assert outputs[0].metrics["output_tokens"] <= 10


def test_a_watched_task_shows_its_tokens_and_the_text_so_far(
    text_engine: Making, claim: Claimer
) -> None:
    engine = text_engine()
    one = claim("t", "text-generation", "tiny", prompt="The", n=2, max_new_tokens=12)
    engine.admit([one])
    seen = []
    outputs: list[Any] = []
    while not outputs:
        outputs = engine.step(0.0)
        seen += engine.glimpses(["t", "unknown"])
    assert [(glimpse.done, glimpse.total) for glimpse in seen[:2]] == [(4, 24), (6, 24)]
    text = outputs[0].output["text"]
    assert all(text.startswith(glimpse.text) for glimpse in seen)
    assert len({glimpse.text for glimpse in seen}) > 5
    assert engine.glimpses(["t"]) == []


def test_the_work_counts_what_was_computed_and_what_a_task_needed(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine(slots=4)
    one = claim("t", "text-generation", "tiny", prompt="A dog", max_new_tokens=5, seed=3)
    output = run(engine, [one])["t"]
    prompt, drawn = output.metrics["prompt_tokens"], output.metrics["output_tokens"]
    assert drawn == 5
    # The first token comes out of the prompt's call, the others each out of a step of four rows.
    assert engine.work.calls == 1 + 4
    assert engine.work.computed == 32 + 4 * 4
    assert engine.work.useful == prompt + 4


def test_the_registry_says_how_many_steps_a_look_and_how_much_is_kept(
    entry: Callable[..., ModelEntry],
) -> None:
    plain = entry("tiny", "text-generation", "text")
    assert pace_of(plain, "cpu") == Pace(steps=1, is_uniform=False, prefix_bytes=256 * 2**20)
    assert pace_of(plain, "cuda:0").steps > 1
    told = entry("t", "text-generation", "text", limits={"decode_steps": 3, "prefix_mib": 0})
    assert pace_of(told, "cuda:0") == Pace(steps=3, is_uniform=True, prefix_bytes=0)


def test_a_task_leaves_a_whole_batch_between_two_of_its_tokens(
    bloom_folder: Path, entry: Callable[..., ModelEntry], claim: Claimer
) -> None:
    """By the tick, which a long step gives as its sign of life."""
    ticks: list[list[Any]] = []

    def tick() -> None:
        ticks.append(engine.glimpses(["gone", "kept"]))
        if len(ticks) == 3:
            engine.drop(["gone"])

    options = {"source": str(bloom_folder), "dtype": "float32"}
    engine = TextEngine(entry("tiny", "text-generation", "text", **options), tick=tick)
    engine.load()
    assert isinstance(engine._decoder, StaticDecoder)
    tasks: list[Claim] = [
        claim(name, "text-generation", "tiny", prompt="The", max_new_tokens=most, temperature=0.0)
        for name, most in (("gone", 100), ("kept", 9))
    ]
    engine.admit(tasks)
    outputs = engine.step(0.0)
    assert [output.task_id for output in outputs] == ["kept"]
    assert [glimpse.done for glimpse in ticks[1]] == [2, 2]
    assert len(ticks) < 100


def test_rows_that_wait_in_the_engine_for_a_near_length_write_the_same(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    choosing, plain = text_engine(slots=2, limits={"look_ahead": 6}), text_engine(slots=2)
    assert choosing.free_rows("tiny") == 8
    claims = [
        claim(f"t{i}", "text-generation", "tiny", prompt=TEXTS[i % 3] * (1 + i % 4), seed=i)
        for i in range(8)
    ]
    ours, theirs = run(choosing, claims), run(plain, claims)
    assert [ours[one.task_id].output for one in claims] == [
        theirs[one.task_id].output for one in claims
    ]
    assert choosing.free_rows("tiny") == 8


def test_another_size_is_taken_without_running_the_model(
    text_engine: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = text_engine()
    monkeypatch.setattr(engine._language.model, "forward", None)
    engine.resize(8)
    assert engine.free_rows("tiny") == 8
    assert isinstance(engine._decoder, SlotDecoder)


def test_memory_that_is_short_at_load_is_no_reason_for_whole_batches(
    text_engine: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(SlotDecoder, "decode", short)
    with pytest.raises(torch.OutOfMemoryError):
        text_engine()
