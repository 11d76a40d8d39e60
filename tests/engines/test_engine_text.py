"""The text engine on a tiny random GPT-2; the oracle is one task alone, or `generate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.slots import SlotDecoder
from genfarm_workers.engines.static import StaticDecoder
from genfarm_workers.engines.text import TextEngine

from .fakes import TEXTS, Claimer, Runner

Making = Callable[..., TextEngine]

#: Many kinds of row side by side, prompts of very different lengths among them.
MIXED: list[dict[str, Any]] = [
    {"prompt": TEXTS[0], "seed": 1, "max_new_tokens": 40},
    {"prompt": "The", "seed": 2, "temperature": 0.7, "top_p": 0.8},
    {"prompt": TEXTS[1] * 2, "seed": 3, "top_k": 5, "max_new_tokens": 20},
    {"prompt": TEXTS[2], "seed": 4, "temperature": 0.0, "max_new_tokens": 33},
    {"prompt": "A dog", "seed": 5, "n": 3, "max_new_tokens": 17},
    {"prompt": TEXTS[0][:9], "seed": 6, "stop": ["e"], "temperature": 1.5},
    {"prompt": TEXTS[1], "seed": 7, "max_new_tokens": 1},
    {"prompt": TEXTS[1] * 3, "seed": 8, "max_new_tokens": 90},
]


@pytest.mark.parametrize(("dtype", "slots"), [("float32", 7), ("bfloat16", 8)])
def test_a_text_is_the_same_alone_and_in_mixed_company(
    text_engine: Making, claim: Claimer, run: Runner, dtype: str, slots: int
) -> None:
    engine = text_engine(dtype=dtype, slots=slots)
    claims = [claim(f"t{i}", "text-generation", "tiny", **values) for i, values in enumerate(MIXED)]
    together = run(engine, claims)
    backwards = run(engine, claims[::-1])
    for one in claims:
        alone = run(engine, [one])[one.task_id]
        assert alone.output == together[one.task_id].output == backwards[one.task_id].output


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_of_a_row_are_bit_equal_beside_a_far_longer_neighbour(
    text_engine: Making, dtype: torch.dtype
) -> None:
    engine = text_engine(dtype=str(dtype).removeprefix("torch."), slots=8)
    decoder = SlotDecoder(engine._language, 8)

    def logits_of_first(columns: list[int]) -> torch.Tensor:
        for seat, length in enumerate(columns):
            if length:
                decoder.prefill([(seat + place) % 300 + 1 for place in range(length)], [seat])
        decoder.prefill([5, 6, 7], [0])
        return decoder.decode([9, *range(1, 8)], [3, *columns[1:]])[0]

    alone = logits_of_first([0] * 8)
    beside = logits_of_first([0, 3, 250, 100, 7, 180, 30, 60])
    assert torch.equal(alone, beside)


def test_greedy_slots_write_what_generate_writes(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    language = engine._language
    claims = [
        claim(f"t{i}", "text-generation", "tiny", prompt=text, temperature=0.0, max_new_tokens=50)
        for i, text in enumerate(TEXTS)
    ]
    outputs = run(engine, claims)
    for one in claims:
        ids = language.tokenizer(one.params["prompt"], return_tensors="pt")["input_ids"]
        written = language.model.generate(ids, max_new_tokens=50, do_sample=False, pad_token_id=0)[
            0, ids.shape[1] :
        ]
        text = language.tokenizer.decode(written, skip_special_tokens=True)
        assert outputs[one.task_id].output["text"] == text  # type: ignore[index]


def test_the_likeliest_of_one_is_greedy_whatever_the_temperature(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    greedy = claim("greedy", "text-generation", "tiny", prompt="The", temperature=0.0)
    narrow = claim("narrow", "text-generation", "tiny", prompt="The", temperature=3.0, top_k=1)
    outputs = run(engine, [greedy, narrow])
    assert outputs["greedy"].output == outputs["narrow"].output


def test_seeds_give_different_texts_and_continuations_differ(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    claims = [
        claim(f"s{i}", "text-generation", "tiny", prompt="The", seed=i, n=4, max_new_tokens=24)
        for i in range(5)
    ]
    outputs = run(engine, claims).values()
    texts = [text for output in outputs for text in output.output["texts"]]  # type: ignore[index]
    # 24 tokens of over two bits each: two equal texts have a chance below 1e-11.
    assert len(set(texts)) == 20


def test_the_first_of_n_is_the_text_of_n_equal_one(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    one = claim("one", "text-generation", "tiny", prompt="The", seed=9)
    many = claim("many", "text-generation", "tiny", prompt="The", seed=9, n=3)
    outputs = run(engine, [one, many])
    assert outputs["many"].output["texts"][0] == outputs["one"].output["text"]  # type: ignore[index]


def test_more_continuations_than_slots_still_finish(text_engine: Making, claim: Claimer) -> None:
    engine = text_engine(slots=4)
    wide = claim("w", "text-generation", "tiny", prompt="The", n=11, max_new_tokens=5)
    engine.admit([wide])
    outputs = []
    while engine.wakes_at(0.0) is not None:
        outputs += engine.step(0.0)
    assert len(outputs[0].output["texts"]) == 11  # type: ignore[index]
    assert engine.free_rows("tiny") == 4


def test_joining_a_running_batch_changes_nothing(text_engine: Making, claim: Claimer) -> None:
    engine = text_engine()
    first = claim("a", "text-generation", "tiny", prompt=TEXTS[0], seed=1)
    second = claim("b", "text-generation", "tiny", prompt=TEXTS[1] * 3, seed=2)

    def texts_of(*arrivals: tuple[int, Any]) -> dict[str, Any]:
        texts: dict[str, Any] = {}
        step = 0
        while step <= max(at for at, _ in arrivals) or engine.wakes_at(0.0) is not None:
            engine.admit([one for at, one in arrivals if at == step])
            texts.update((done.task_id, done.output) for done in engine.step(0.0))
            step += 1
        return texts

    apart = texts_of((0, first)) | texts_of((0, second))
    assert texts_of((0, first), (13, second)) == apart
    assert texts_of((5, first), (0, second)) == apart


def test_a_dropped_task_leaves_its_slot_and_never_comes_back(
    text_engine: Making, claim: Claimer
) -> None:
    engine = text_engine()
    kept = claim("kept", "text-generation", "tiny", prompt="The", max_new_tokens=8)
    gone = claim("gone", "text-generation", "tiny", prompt="The", n=3)
    engine.admit([gone, kept])
    engine.step(0.0)
    engine.drop(["gone"])
    assert engine.free_rows("tiny") == 3
    outputs = []
    while engine.wakes_at(0.0) is not None:
        outputs += engine.step(0.0)
    assert [output.task_id for output in outputs] == ["kept"]


def test_the_text_ends_before_the_first_stop_string(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    free = claim("free", "text-generation", "tiny", prompt="The", seed=3)
    text = run(engine, [free])["free"].output["text"]  # type: ignore[index]
    early, late = text[20:24], text[30:33]
    stopped = claim("s", "text-generation", "tiny", prompt="The", seed=3, stop=[late, early])
    output = run(engine, [stopped])["s"].output
    assert output is not None
    assert output["text"] == text[: min(text.find(early), text.find(late))]
    assert output["finish_reason"] == ["stop"]


def test_a_text_with_stop_strings_that_never_come_is_the_free_text(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    values = [{"prompt": TEXTS[2], "seed": seed, "temperature": 2.0} for seed in range(8)]
    free = [claim(f"f{i}", "text-generation", "tiny", **v) for i, v in enumerate(values)]
    never = ["\x01never"]
    held = [
        claim(f"h{i}", "text-generation", "tiny", stop=never, **v) for i, v in enumerate(values)
    ]
    outputs = run(engine, free + held)
    for i in range(8):
        assert outputs[f"f{i}"].output == outputs[f"h{i}"].output


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine()
    long = claim("long", "text-generation", "tiny", prompt="x" * 200, max_new_tokens=100)
    fits = claim("fits", "text-generation", "tiny", prompt="x" * 200, max_new_tokens=56)
    outputs = run(engine, [long, fits])
    failure = outputs["long"].failure
    assert failure is not None
    assert failure.code == "invalid_params"
    assert "200 tokens" in failure.message
    assert "256" in failure.message
    assert outputs["fits"].failure is None
    assert outputs["fits"].metrics["prompt_tokens"] == 200


def test_a_limit_in_the_registry_narrows_the_context(
    text_engine: Making, claim: Claimer, run: Runner
) -> None:
    engine = text_engine(limits={"context": 64})
    outputs = run(engine, [claim("t", "text-generation", "tiny", prompt="x" * 10)])
    assert outputs["t"].failure is not None


@pytest.fixture
def static(
    bloom_folder: Path, entry: Callable[..., ModelEntry], caplog: pytest.LogCaptureFixture
) -> TextEngine:
    options = {"source": str(bloom_folder), "dtype": "float32"}
    engine = TextEngine(entry("tiny", "text-generation", "text", **options))
    engine.load()
    assert isinstance(engine._decoder, StaticDecoder)
    assert "runs in whole batches" in caplog.text
    return engine


def test_a_model_without_slots_runs_in_whole_batches_with_the_same_promise(
    static: TextEngine, claim: Claimer, run: Runner
) -> None:
    claims = [claim(f"t{i}", "text-generation", "tiny", **values) for i, values in enumerate(MIXED)]
    together = run(static, claims)
    for one in claims:
        assert run(static, [one])[one.task_id].output == together[one.task_id].output


def test_greedy_whole_batches_write_what_generate_writes(
    static: TextEngine, claim: Claimer, run: Runner
) -> None:
    language = static._language
    one = claim("t", "text-generation", "tiny", prompt=TEXTS[0], temperature=0.0)
    ids = language.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    written = language.model.generate(ids, max_new_tokens=64, do_sample=False, pad_token_id=0)
    text = language.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    assert run(static, [one])["t"].output["text"] == text  # type: ignore[index]
