"""Sentence vectors against the stock model's own forward, and folders of sentence-transformers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.embed import TextEmbeddingEngine

from .encoders import WORDS, save_encoder
from .fakes import Claimer, Runner

TEXTS = [" ".join(WORDS[(5 * k + j) % len(WORDS)] for j in range(1 + 9 * k)) for k in range(6)]

Maker = Callable[..., TextEmbeddingEngine]

OLD = "sentence_transformers.models"
#: As release 5.4 and later ones name them.
NEW = (
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
)
PROMPTED = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_encoder(tmp_path)


@pytest.fixture
def embedder(folder: Path, entry: Callable[..., ModelEntry]) -> Maker:
    def make(**values: Any) -> TextEmbeddingEngine:
        options = {"source": str(folder), "dtype": "float32", **values}
        engine = TextEmbeddingEngine(entry("tiny", "feature-extraction", "x", **options))
        engine.load()
        return engine

    return make


def vector_of(output: Output) -> torch.Tensor:
    assert output.failure is None, output.failure
    assert output.output is not None
    return torch.tensor(output.output["embedding"])


def stock_states(folder: Path, text: str) -> torch.Tensor:
    """Of each token of the text alone, (T, D)."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        batch = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        states: torch.Tensor = model(**batch).last_hidden_state[0]
    return states


def describe(folder: Path, *steps: str, **pooling: object) -> None:
    """Make it a folder of sentence-transformers with those steps."""
    modules = [
        {"idx": k, "path": f"{k}_{name.rpartition('.')[2]}" if k else "", "type": name}
        for k, name in enumerate(step if "." in step else f"{OLD}.{step}" for step in steps)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [False, True])
def test_vectors_are_those_of_the_stock_model(
    pooling: str, normalize: bool, embedder: Maker, folder: Path, claim: Claimer, run: Runner
) -> None:
    values = {"pooling": pooling, "normalize": normalize}
    outputs = run(
        embedder(), [claim(t, "feature-extraction", "tiny", text=t, **values) for t in TEXTS[::3]]
    )
    for text in TEXTS[::3]:
        states = stock_states(folder, text)
        expected = states[0] if pooling == "cls" else states.mean(dim=0)
        expected = expected / expected.norm() if normalize else expected
        assert torch.allclose(vector_of(outputs[text]), expected, atol=1e-5)


def test_a_text_has_the_same_vector_alone_and_in_any_company(
    embedder: Maker, claim: Claimer, run: Runner
) -> None:
    engine = embedder()

    def vectors(texts: Sequence[str]) -> dict[str, object]:
        tasks = [claim(text, "feature-extraction", "tiny", text=text) for text in texts]
        return {name: output.output for name, output in run(engine, tasks).items()}

    together = vectors(TEXTS)
    assert together == vectors(TEXTS[::-1])
    assert together == {text: vectors([text])[text] for text in TEXTS}


def test_tasks_that_pool_in_different_ways_share_a_call(
    embedder: Maker, claim: Claimer, run: Runner
) -> None:
    engine = embedder()
    tasks = [
        claim(way, "feature-extraction", "tiny", text="good", pooling=way)
        for way in ("mean", "cls")
    ]
    outputs = run(engine, tasks)
    assert not torch.equal(vector_of(outputs["mean"]), vector_of(outputs["cls"]))
    assert engine.work.calls == 1


@pytest.mark.parametrize(
    ("steps", "pooling"),
    [
        (
            ("Transformer", "Pooling", "Normalize"),
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        ),
        (NEW, {"pooling_mode": "mean"}),
    ],
)
def test_a_folder_of_sentence_transformers_is_pooled_and_normalised_as_it_says(
    steps: Sequence[str],
    pooling: dict[str, Any],
    embedder: Maker,
    folder: Path,
    claim: Claimer,
    run: Runner,
) -> None:
    describe(folder, *steps, **pooling)
    way = "mean" if "pooling_mode" in pooling else "cls"
    plain = claim("plain", "feature-extraction", "tiny", text=TEXTS[2])
    named = claim("named", "feature-extraction", "tiny", text=TEXTS[2], pooling=way, normalize=True)
    outputs = run(embedder(), [plain, named])
    assert torch.equal(vector_of(outputs["plain"]), vector_of(outputs["named"]))
    assert vector_of(outputs["plain"]).norm() == pytest.approx(1.0)


def test_a_limit_of_tokens_in_the_folder_is_kept(
    embedder: Maker, folder: Path, claim: Claimer, run: Runner
) -> None:
    describe(folder, "Transformer", "Pooling", pooling_mode_mean_tokens=True)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    task = claim("long", "feature-extraction", "tiny", text="good " * 7)
    failure = run(embedder(), [task])["long"].failure
    assert failure is not None
    assert "has 9 tokens, model 'tiny' takes 8" in failure.message
    assert vector_of(run(embedder(limits={"truncate": True}), [task])["long"]).shape == (32,)


@pytest.mark.parametrize(
    ("steps", "pooling", "reason"),
    [
        (("Transformer", "Pooling", "Dense"), {"pooling_mode": "mean"}, "Dense"),
        (("Transformer", "Pooling"), {"pooling_mode_max_tokens": True}, "pooled by max"),
        (("Transformer", "Pooling"), {}, "pooled by nothing"),
        (("Transformer", "mine.Pooling"), {"pooling_mode": "mean"}, "Transformer, mine.Pooling"),
    ],
)
def test_a_folder_with_steps_that_we_do_not_know_is_unavailable(
    steps: tuple[str, ...], pooling: dict[str, Any], reason: str, embedder: Maker, folder: Path
) -> None:
    describe(folder, *steps, **pooling)
    with pytest.raises(ModelUnavailable, match=reason):
        embedder()


@pytest.mark.parametrize(
    ("file", "told", "reason"),
    [
        ("config_sentence_transformers.json", PROMPTED, "prompt 'query' before every text"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "fill-mask"),
        ("modules.json", [{"type": "x", "path": "../elsewhere"}], "leaves the folder"),
        ("modules.json", [{"type": "x", "path": "/elsewhere"}], "leaves the folder"),
    ],
)
def test_what_a_folder_says_and_is_not_followed_is_refused(
    file: str, told: object, reason: str, embedder: Maker, folder: Path
) -> None:
    describe(folder, "Transformer", "Pooling", pooling_mode="mean")
    embedder()
    (folder / file).write_text(json.dumps(told))
    with pytest.raises(ModelUnavailable, match=reason):
        embedder()


def test_a_model_of_small_letters_reads_all_texts_in_them(
    embedder: Maker, folder: Path, claim: Claimer, run: Runner
) -> None:
    describe(folder, "Transformer", "Pooling", pooling_mode="mean")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"do_lower_case": False}))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": None}))

    def is_one() -> bool:
        tasks = [claim(t, "feature-extraction", "tiny", text=t) for t in ("GOOD", "good")]
        return torch.equal(*(vector_of(output) for output in run(embedder(), tasks).values()))

    assert not is_one()
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    assert is_one()


def test_a_picture_is_refused_by_a_model_of_texts(
    embedder: Maker, claim: Claimer, run: Runner
) -> None:
    task = claim("a", "feature-extraction", "tiny", image=f"ab/{'0' * 64}.png")
    failure = run(embedder(), [task])["a"].failure
    assert failure is not None
    assert "'tiny' embeds texts" in failure.message
