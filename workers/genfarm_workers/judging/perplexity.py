"""Perplexity of texts by a causal language model: exp of the mean cross-entropy of a token.

A text that continues a prompt is judged given its prompt; the prompt's own
tokens are not counted. Knows no job and no registry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: Texts of one call of the model; bounds memory. Not measured.
BATCH = 16
#: What no loss is taken of, as in `functional.cross_entropy`.
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Perplexity:
    """How surprised the model is."""

    #: 1 for a model that foresaw every token; infinity when there is no token.
    value: float
    #: Tokens it was taken over.
    tokens: int
    #: Texts that were longer than the model's context, and are judged by what fits.
    cut: int


def perplexity(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], context: int
) -> Perplexity:
    """Of (prompt, continuation) pairs. `context` is the most tokens that the model takes."""
    rows = [_encode(tokenizer, prompt, text) for prompt, text in pairs]
    nats, tokens = 0.0, 0
    for start in range(0, len(rows), BATCH):
        batch = [(ids[:context], known) for ids, known in rows[start : start + BATCH]]
        loss, count = _surprise(model, batch)
        nats, tokens = nats + loss, tokens + count
    cut = sum(len(ids) > context for ids, _ in rows)
    return Perplexity(math.exp(nats / tokens) if tokens else math.inf, tokens, cut)


def _encode(tokenizer: Any, prompt: str, text: str) -> tuple[list[int], int]:
    """Tokens of both, and how many of the first are given; never none, as one must come first."""
    known = tokenizer(prompt, add_special_tokens=False).input_ids if prompt else []
    start = tokenizer.bos_token_id
    if start is not None:
        known = [start, *known]
    ids = [*known, *tokenizer(text, add_special_tokens=False).input_ids]
    return ids, max(len(known), 1)


@torch.inference_mode()
def _surprise(model: Any, rows: Sequence[tuple[list[int], int]]) -> tuple[float, int]:
    """Nats and number of the tokens that were not given."""
    longest = max((len(ids) for ids, _ in rows), default=0)
    if longest < 2:
        return 0.0, 0
    # Padded on the right: a causal model never looks there, and positions count from the start.
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    targets = torch.full_like(ids, _IGNORED)
    for row, (tokens, known) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        mask[row, : len(tokens)] = 1
        targets[row, known : len(tokens)] = torch.tensor(tokens[known:], dtype=torch.long)
    logits: Tensor = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    wanted = targets[:, 1:]
    loss = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        wanted.reshape(-1),
        ignore_index=_IGNORED,
        reduction="sum",
    )
    return float(loss), int((wanted != _IGNORED).sum())
