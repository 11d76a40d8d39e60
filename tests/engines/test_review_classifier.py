"""A classifier of the BERT family as a gate, built in place."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.registry import build, no_tick
from genfarm_workers.review.censor import Censor, load_judge

WORDS = ["[PAD]", "[UNK]", "good", "bad", "old", "king"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has an opinion of each text."""
    place = tmp_path_factory.mktemp("classifier")
    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(place)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=8,
        initializer_range=2.0,
        id2label={0: "fine", 1: "foul"},
        label2id={"fine": 0, "foul": 1},
    )
    torch.manual_seed(1)  # one of those whose opinion hangs on more than the first word
    BertForSequenceClassification(config).save_pretrained(place)
    return place


def entry(folder: Path, threshold: float, labels: tuple[str, ...] = ("foul",)) -> ModelEntry:
    rules = {"source": str(folder), "labels": labels, "threshold": threshold}
    review = {"classifier": rules}
    made = {"key": "drill", "kind": "drill", "engine": "drill", "review": review}
    return ModelEntry.model_validate(made)


def claim(text: str) -> Claim:
    return Claim("j-0", "j", 1, "drill", "drill", "drill", 1, {"text": text}, 0)


def scores(folder: Path) -> Mapping[str, float]:
    judge = load_judge(str(folder), "drill", "cpu")
    return {text: judge.score(text)["foul"] for text in ("good king", "bad king")}


def test_a_text_is_refused_from_its_threshold_on_wherever_it_stands(folder: Path) -> None:
    found = scores(folder)
    worse, better = sorted(found, key=lambda text: -found[text])
    made = entry(folder, (found[worse] + found[better]) / 2)
    censor = Censor({"drill": made})
    censor.beside(lambda e, tick: build(e, "cpu", tick))(made, no_tick)
    assert censor.refuse(claim(better)) is None
    failure = censor.refuse(claim(worse))
    assert failure is not None
    assert (failure.code, "gate classifier, rule foul" in failure.message) == (
        "content_filtered",
        True,
    )
    outputs = [Output("a", {"texts": [better]}), Output("b", {"texts": [better, worse]})]
    judged = censor.judge("drill", outputs)
    assert judged[0] is outputs[0]
    assert judged[1].failure is not None
    assert censor.refuse(claim("")) is None
    assert censor.judge("other", outputs) is outputs


def test_a_model_whose_gate_cannot_be_loaded_is_not_loaded(folder: Path) -> None:
    for made, said in (
        (entry(folder, 0.5, ("rude",)), "label 'rude'.*fine, foul"),
        (entry(folder / "none", 0.5), "is not a directory"),
    ):
        with pytest.raises(ModelUnavailable, match=said):
            Censor({"drill": made}).beside(lambda e, tick: build(e, "cpu", tick))(made, no_tick)


def test_a_text_longer_than_a_classifier_takes_is_judged_to_its_end(folder: Path) -> None:
    judge = load_judge(str(folder), "drill", "cpu")
    # Eight tokens are a window, and every fourth one begins another.
    alone = [judge.score(text) for text in ("good " * 8, "good " * 4 + "bad king " * 2)]
    whole = judge.score("good " * 400 + "bad king bad king")
    assert alone[0] != alone[1]
    for label in ("fine", "foul"):
        assert whole[label] == pytest.approx(max(scores[label] for scores in alone))
