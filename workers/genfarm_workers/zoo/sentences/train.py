"""Trains the model of meanings: its vocabulary first, then a BERT that puts sentences of one
fact beside each other and those of others apart.

Method: softmax over the pairs of a batch (arXiv 1807.03748, as SimCSE uses it, arXiv
2104.08821). It knows neither how sentences are written nor how the model is measured.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.zoo.sentences.grammar import draw_facts, say_twice
from genfarm_workers.zoo.training import Average, Plan, descend, recorded
from genfarm_workers.zoo.wordpiece import build_tokenizer

DEFAULT_STEPS = 500

#: Positions the model knows; the longest sentence takes about 40 tokens.
CONTEXT = 128

#: Seed of the sentences the vocabulary is made from; not the run's, so that it stays the same.
_VOCABULARY_SEED = 1
_VOCABULARY_FACTS = 1_500
_VOCABULARY = 1_024
#: Width of the model and of its vectors.
_WIDTH = 96
#: Facts of a batch; each is held against all others.
_BATCH = 64
_PEAK_RATE = 2e-3
_AVERAGE_DECAY = 0.99
#: Divides similarities before the softmax; 0.05 is SimCSE's.
_TEMPERATURE = 0.05


def train_sentences(plan: Plan) -> None:
    with recorded("sentences", plan) as modules:
        tokenizer = build_tokenizer(_vocabulary_texts(), _VOCABULARY, CONTEXT)
        model = build_model(tokenizer)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, tokenizer, plan.seed)
        for _ in descend("sentences", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        # Half precision holds what was learnt; the registry loads it as float32.
        learnt.half().save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)
        _describe_pooling(plan.out)


def build_model(tokenizer: Any) -> Any:
    """BertModel of three layers without the pooler, which sentence vectors do not use."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=2 * _WIDTH,
        max_position_embeddings=CONTEXT,
        # Every batch is new to the model, so dropout would only slow it down.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False).train()


def embed(model: Any, batch: Any) -> Tensor:
    """Unit vectors (B, D): the mean of the tokens, scaled to length 1."""
    states = model(**batch).last_hidden_state
    weights = batch["attention_mask"][:, :, None].to(states.dtype)
    return functional.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=1)


def _losses(model: Any, tokenizer: Any, seed: int) -> Iterator[Tensor]:
    chance = random.Random(seed)  # noqa: S311
    while True:
        facts = draw_facts(_BATCH, chance, held_out=False)
        pairs = [say_twice(fact, chance) for fact in facts]
        texts = [first for first, _ in pairs] + [second for _, second in pairs]
        vectors = embed(model, tokenizer(texts, padding=True, return_tensors="pt"))
        similar = vectors[:_BATCH] @ vectors[_BATCH:].T / _TEMPERATURE
        own = torch.arange(_BATCH)
        there, back = (functional.cross_entropy(side, own) for side in (similar, similar.T))
        yield (there + back) / 2


def _vocabulary_texts() -> list[str]:
    chance = random.Random(_VOCABULARY_SEED)  # noqa: S311
    facts = draw_facts(_VOCABULARY_FACTS, chance, held_out=False)
    return [text for fact in facts for text in say_twice(fact, chance)]


def _describe_pooling(folder: Path) -> None:
    """What sentence-transformers, and this farm, read beside transformers' own files."""
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{name}"}
        for k, (path, name) in enumerate(steps)
    ]
    pooling = {"word_embedding_dimension": _WIDTH, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling/config.json", pooling)
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": CONTEXT})


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
