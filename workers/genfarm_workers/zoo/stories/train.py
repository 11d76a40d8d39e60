"""Trains the story teller: its tokenizer first, then a GPT-2, on stories of our own grammar.

It knows neither how stories are written nor how the model is measured.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genfarm_workers.zoo.stories.grammar import write_stories
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

DEFAULT_STEPS = 4_000

#: Positions the model knows; the longest story takes about 255 tokens.
CONTEXT = 288

END, PAD = "<|endoftext|>", "<|pad|>"

#: Seed of the training stories and of the tokenizer; not the run's, since the held-out part and
#: the vocabulary would then differ from run to run, and with them what bits per byte means.
CORPUS_SEED = 1

#: Most stories of the corpus, and those the vocabulary is made from.
_STORIES, _VOCABULARY_STORIES = 20_000, 4_000
_VOCABULARY = 1_536
_BATCH = 8
_PEAK_RATE = 2.5e-3
_AVERAGE_DECAY = 0.99


def train_stories(plan: Plan) -> None:
    with recorded("stories", plan) as modules:
        count = min(_STORIES, max(_VOCABULARY_STORIES, 2 * _BATCH * plan.steps))
        stories = list(write_stories(count, seed=CORPUS_SEED, held_out=False))
        tokenizer = build_tokenizer(stories)
        model = build_model(tokenizer)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, tokenizer, stories, plan.seed)
        for _ in descend("stories", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        learnt.save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)


def build_tokenizer(stories: list[str]) -> Any:
    """A byte-level BPE like GPT-2's, with a vocabulary of its own."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Tokenizer

    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        stories[:_VOCABULARY_STORIES], vocab_size=_VOCABULARY - 2, show_progress=False
    )
    merges = json.loads(trainer.to_str())["model"]["merges"]
    return GPT2Tokenizer(
        vocab=trainer.get_vocab() | {END: _VOCABULARY - 2, PAD: _VOCABULARY - 1},
        merges=[tuple(pair) for pair in merges],
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        padding_side="left",
    )


def build_model(tokenizer: Any) -> Any:
    """GPT2LMHeadModel of five layers, 128 wide."""
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=5,
        n_head=4,
        # The same curve as GPT-2's "gelu_new", in one kernel instead of seven.
        activation_function="gelu_pytorch_tanh",
        # Every batch is new to the model, so dropout would only slow it down.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.8,
        max_length=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


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
    while len(row) < CONTEXT:
        row += chance.choice(encoded)
    return row[:CONTEXT]
