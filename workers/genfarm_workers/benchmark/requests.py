"""Text requests of ragged lengths, and the model that answers them.

Everything is fixed by a seed. Weights are random: how fast a model computes
does not depend on what it has learned. Knows no engine and no clock.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

#: Mean of the output lengths before the longest are cut, and how much they spread.
_MEAN_LENGTH, _SPREAD = 38, 0.8


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, and how many tokens to write to it: no text ends by itself."""

    ids: tuple[int, ...]
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Size:
    """Of the model."""

    layers: int = 9
    width: int = 384
    vocabulary: int = 50_257
    #: Tokens of the longest output.
    most_tokens: int = 128


class Words:
    """A tokenizer without a vocabulary: a token is its number."""

    bos_token_id = 0
    eos_token_id = 0

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, token_ids: Sequence[int], **options: Any) -> str:
        return "".join(f"{token} " for token in token_ids)


def ragged(count: int, shortest: int, longest: int, size: Size, seed: int = 1) -> list[Request]:
    """Prompts of `shortest` to `longest` tokens, outputs log-normal."""
    chance = random.Random(seed)  # noqa: S311
    centre = math.log(_MEAN_LENGTH) - _SPREAD**2 / 2
    return [
        Request(
            tuple(chance.choices(range(1, size.vocabulary), k=chance.randint(shortest, longest))),
            max(1, min(size.most_tokens, round(chance.lognormvariate(centre, _SPREAD)))),
        )
        for _ in range(count)
    ]


def sharing(count: int, shared: int, own: int, new_tokens: int, size: Size) -> list[Request]:
    """Prompts that begin with the same `shared` tokens, as behind one system prompt."""
    chance = random.Random(2)  # noqa: S311
    words = range(1, size.vocabulary)
    head = chance.choices(words, k=shared)
    return [Request((*head, *chance.choices(words, k=own)), new_tokens) for _ in range(count)]


def random_gpt2(size: Size, dtype: torch.dtype) -> Any:
    """A GPT-2 with weights drawn from a fixed seed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=size.vocabulary,
        n_layer=size.layers,
        n_embd=size.width,
        n_head=size.width // 64,
        bos_token_id=0,
        eos_token_id=0,
        # Wide enough that texts differ and go on differing.
        initializer_range=0.05,
    )
    model = GPT2LMHeadModel(config).to(dtype).eval()
    model.generation_config.eos_token_id = None
    return model
