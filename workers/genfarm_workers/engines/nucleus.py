"""Which tokens top_k and top_p leave a row.

Weights are integers, so that their sums are the same in any order. Most rows
need only their likeliest tokens in order; a row whose nucleus is wider is
sorted as a whole. Which of the two happens depends on the row alone. Knows
no seed and no temperature.
"""

import torch

#: Weights of tokens, relative to the likeliest, as integers: 2**40 leaves room for a sum
#: over eight million tokens.
_UNIT = 2.0**40
#: Likeliest tokens that are put in order before a whole vocabulary is: 1024 of 50,257 cost a
#: sixth of sorting them all, and hold 95 % of the probability of most rows of a trained model.
_HEAD = 1024


def keep_nucleus(
    scaled: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, *, is_uniform: bool = False
) -> torch.Tensor:
    """(B, V) logits, 0 at the likeliest, with minus infinity outside top_k, then outside top_p.

    `top_k` is (B,), 0 for all tokens; `top_p` is (B, 1) float64. top_p keeps
    the fewest tokens whose probability reaches it. `is_uniform` sorts every
    row, for a device on which looking at a row first would cost more.
    """
    size = scaled.shape[-1]
    if is_uniform or size <= _HEAD:
        return _kept(scaled, *scaled.sort(dim=-1, descending=True, stable=True), top_k, top_p)[0]
    total = _weights(scaled).sum(dim=-1, keepdim=True)
    head = scaled.topk(_HEAD, dim=-1)
    # Ties of the last token may be broken otherwise beyond the head: those rows are sorted too.
    order, by = head.indices.sort(dim=-1)
    ordered, again = head.values.gather(-1, by).sort(dim=-1, descending=True, stable=True)
    kept, reached = _kept(scaled, ordered, order.gather(-1, again), top_k, top_p, total)
    wide = (~reached | (top_k > _HEAD)).nonzero()[:, 0]
    if len(wide):
        whole = scaled[wide].sort(dim=-1, descending=True, stable=True)
        kept[wide] = _kept(scaled[wide], *whole, top_k[wide], top_p[wide])[0]
    return kept


def _kept(
    scaled: torch.Tensor,
    ordered: torch.Tensor,
    order: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    total: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The narrowed logits, and which rows' nucleus ends before the last ordered token's value.

    `ordered` and `order` are the likeliest tokens of each row; `total` the
    integer weight of its whole vocabulary, where `ordered` is less.
    """
    weights = _weights(ordered)
    place = torch.arange(ordered.shape[-1], device=scaled.device)
    is_cut = (top_k[:, None] > 0) & (place >= top_k[:, None])
    weights = weights.masked_fill(is_cut, 0)
    before = weights.cumsum(dim=-1) - weights
    narrowed = weights.sum(dim=-1, keepdim=True)
    whole = narrowed if total is None else torch.where(top_k[:, None] > 0, narrowed, total)
    is_out = (weights == 0) | (before >= (whole * top_p).ceil())
    is_out[:, 0] = False
    last = ordered.gather(-1, (~is_out).sum(dim=-1, keepdim=True) - 1)
    reached = (last > ordered[:, -1:])[:, 0]
    kept = torch.full_like(scaled, -torch.inf)
    return kept.scatter(-1, order, ordered.masked_fill(is_out, -torch.inf)), reached


def _weights(scaled: torch.Tensor) -> torch.Tensor:
    return (scaled.exp().double() * _UNIT).round().long()
