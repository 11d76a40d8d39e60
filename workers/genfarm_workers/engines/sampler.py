"""One token per row from the rows' logits, each row by its own parameters.

Gumbel-max: the token with the highest `logit / temperature + noise` is a
draw from the softmax, and with noise from a hash the draw depends on the
row's seed and place alone. Every reduction here is a maximum or a sum of
integers, which come out the same in any order and beside any neighbours.
Knows no model and no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from genfarm_workers.engines.noise import gumbel, noise_key

#: Weights of tokens, relative to the likeliest, as integers: 2**40 leaves room for a sum
#: over eight million tokens.
_UNIT = 2.0**40
#: Below this a draw is the likeliest token in float32 anyway, and the division overflows.
_COLDEST = 1e-4


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row's next token is chosen."""

    seed: int
    #: How many tokens the row has drawn before.
    position: int
    #: 0 takes the likeliest token.
    temperature: float
    top_p: float
    #: 0 keeps the whole vocabulary.
    top_k: int


GREEDY = Draw(seed=0, position=0, temperature=0.0, top_p=1.0, top_k=0)


def choose_tokens(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """(B, V) logits of any float type to (B,) token ids, one draw per row.

    Greedy rows cost an argmax and unfiltered rows no sort.
    """
    logits = logits.float()
    tokens = logits.argmax(dim=-1)
    sampled = [row for row, draw in enumerate(draws) if draw.temperature >= _COLDEST]
    if sampled:
        rows = torch.tensor(sampled, device=logits.device)
        chosen = [draws[row] for row in sampled]
        tokens[rows] = _draw_tokens(logits[rows], chosen)
    return tokens


def _draw_tokens(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    device = logits.device
    temperature = torch.tensor([draw.temperature for draw in draws], device=device)
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / temperature[:, None]
    filtered = [row for row, draw in enumerate(draws) if draw.top_p < 1.0 or draw.top_k > 0]
    if filtered:
        rows = torch.tensor(filtered, device=device)
        scaled[rows] = _filter(scaled[rows], [draws[row] for row in filtered])
    keys = torch.tensor([noise_key(draw.seed, draw.position) for draw in draws], device=device)
    return (scaled + gumbel(keys, logits.shape[-1])).argmax(dim=-1)


def _filter(scaled: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Minus infinity for tokens outside the row's top_k, then outside its top_p.

    `scaled` is (B, V), logits over temperature, 0 at the likeliest token.
    top_p keeps the fewest tokens whose probability reaches it.
    """
    size, device = scaled.shape[-1], scaled.device
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    top_k = torch.tensor([draw.top_k or size for draw in draws], device=device)
    top_p = torch.tensor([draw.top_p for draw in draws], device=device, dtype=torch.float64)
    weights = (ordered.exp().double() * _UNIT).round().long()
    weights[torch.arange(size, device=device) >= top_k[:, None]] = 0
    before = weights.cumsum(dim=-1) - weights
    total = weights.sum(dim=-1, keepdim=True)
    is_out = (weights == 0) | (before >= (total * top_p[:, None]).ceil())
    is_out[:, 0] = False
    return scaled.masked_fill(torch.zeros_like(is_out).scatter(-1, order, is_out), -torch.inf)
