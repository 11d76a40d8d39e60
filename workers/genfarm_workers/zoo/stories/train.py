"""Trains the story teller: its tokenizer first, then a GPT-2, on stories of our own grammar.

It knows neither how stories are written nor how the model is measured.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genfarm_workers.zoo.gpt import Shape, build_model, build_tokenizer
from genfarm_workers.zoo.stories.grammar import write_stories
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

DEFAULT_STEPS = 4_000

#: The longest story takes about 255 tokens.
SHAPE = Shape(vocabulary=1_536, context=288, width=128, layers=5, heads=4)

#: Seed of the training stories and of the tokenizer; not the run's, since the held-out part and
#: the vocabulary would then differ from run to run, and with them what bits per byte means.
CORPUS_SEED = 1

#: Most stories of the corpus, and those the vocabulary is made from.
_STORIES, _VOCABULARY_STORIES = 20_000, 4_000
_BATCH = 8
_PEAK_RATE = 2.5e-3
_AVERAGE_DECAY = 0.99


def train_stories(plan: Plan) -> None:
    with recorded("stories", plan) as modules:
        count = min(_STORIES, max(_VOCABULARY_STORIES, 2 * _BATCH * plan.steps))
        stories = list(write_stories(count, seed=CORPUS_SEED, held_out=False))
        tokenizer = build_tokenizer(stories[:_VOCABULARY_STORIES], SHAPE)
        model = build_model(tokenizer, SHAPE)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, tokenizer, stories, plan.seed)
        for _ in descend("stories", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        learnt.save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)


def _losses(model: Any, tokenizer: Any, stories: list[str], seed: int) -> Iterator[Tensor]:
    """Mean loss of batches (8, 288): each row is one story, its end, and a part of the next."""
    chance = random.Random(seed)  # noqa: S311
    encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(stories).input_ids]
    while True:
        rows = [_row(encoded, tokenizer.bos_token_id, chance) for _ in range(_BATCH)]
        tokens = torch.tensor(rows)
        yield model(input_ids=tokens, labels=tokens).loss


def _row(encoded: list[list[int]], start: int, chance: random.Random) -> list[int]:
    # Half of the rows begin with the end-of-text token, half with the story itself,
    # because a prompt is given bare and a measured story after that token.
    row = [start] if chance.random() < 0.5 else []
    while len(row) < SHAPE.context:
        row += chance.choice(encoded)
    return row[: SHAPE.context]
