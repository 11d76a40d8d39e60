"""Trains the reader of moods: its vocabulary first, then a BERT, on reviews of our own grammar.

It knows neither how reviews are written nor how the model is measured.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.zoo.sentiment.grammar import LABELS, Review, write_reviews
from genfarm_workers.zoo.training import Average, Plan, descend, recorded
from genfarm_workers.zoo.wordpiece import build_tokenizer

DEFAULT_STEPS = 3_000

#: Positions the model knows; the longest review takes about 80 tokens.
CONTEXT = 128

#: Seed of the reviews that are trained on; not the run's, since the vocabulary, and what the
#: baseline learns from, would then differ from run to run.
CORPUS_SEED = 1
#: Most reviews of the corpus, and those the vocabulary is made from.
REVIEWS, _VOCABULARY_REVIEWS = 20_000, 4_000
_VOCABULARY = 1_536
_BATCH = 32
_PEAK_RATE = 1e-3
_AVERAGE_DECAY = 0.99
#: Share of the steps in which longer and longer reviews are let in. From all of them at once
#: nothing was learnt in 300 steps; of two or three words it learns first what words mean.
_SCHOOL = 0.5
#: Reviews that are in from the start.
_SHORTEST = 600


def train_sentiment(plan: Plan) -> None:
    with recorded("sentiment", plan) as modules:
        count = min(REVIEWS, max(_VOCABULARY_REVIEWS, 2 * _BATCH * plan.steps))
        reviews = list(write_reviews(count, seed=CORPUS_SEED, held_out=False))
        texts = [review.text for review in reviews[:_VOCABULARY_REVIEWS]]
        tokenizer = build_tokenizer(texts, _VOCABULARY, CONTEXT)
        model = build_model(tokenizer)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, tokenizer, reviews, plan)
        for _ in descend("sentiment", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        # Half precision holds what was learnt; the registry loads it as float32.
        learnt.half().save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)


def build_model(tokenizer: Any) -> Any:
    """BertForSequenceClassification of three layers, 96 wide."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=CONTEXT,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)},
    )
    return BertForSequenceClassification(config).train()


def _losses(model: Any, tokenizer: Any, reviews: list[Review], plan: Plan) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(plan.seed)
    encoded = tokenizer([review.text for review in reviews]).input_ids
    pairs = sorted(zip(encoded, reviews, strict=True), key=lambda pair: len(pair[0]))
    for step in itertools.count():
        grown = (step / (_SCHOOL * plan.steps)) ** 1.5
        known = min(len(pairs), max(_SHORTEST, int(grown * len(pairs))))
        chosen = torch.randint(known, (_BATCH,), generator=generator).tolist()
        batch = tokenizer.pad({"input_ids": [pairs[k][0] for k in chosen]}, return_tensors="pt")
        labels = torch.tensor([int(pairs[k][1].is_positive) for k in chosen])
        yield functional.cross_entropy(model(**batch).logits, labels, label_smoothing=0.02)
