"""A model of bytes that only counts: the baseline that the coder has to beat.

Interpolated n-grams with the smoothing of Witten and Bell (Bell, Cleary, Witten: Text
Compression, 1990, method C): what followed the last k bytes, mixed with what followed the
last k - 1, down to every byte alike. Knows no file and no tensor.
"""

from dataclasses import dataclass
from typing import Any

import numpy

#: Most bytes of context: they and the byte that follows fill 64 bits.
MOST_CONTEXT = 7


@dataclass(frozen=True, slots=True)
class _Order:
    """What was seen of contexts of one length; keys are sorted."""

    #: A context and the byte behind it, and how often.
    grams: Any
    gram_counts: Any
    #: A context, how often, and behind it how many different bytes.
    contexts: Any
    context_counts: Any
    context_kinds: Any


class ByteCounts:
    """Counts of a training text."""

    def __init__(self, text: bytes, context: int) -> None:
        if not 0 <= context <= MOST_CONTEXT:
            raise ValueError(f"context={context}: expected 0 to {MOST_CONTEXT} bytes")
        self._orders = [_count(text, length) for length in range(context + 1)]

    def bits(self, text: bytes) -> list[float]:
        """Bits for the whole text when the longest context is 0, 1, 2, ... bytes."""
        shares = numpy.full(len(text), 1 / 256)
        totals = []
        for length, order in enumerate(self._orders):
            shares = _mixed(order, text, length, shares)
            totals.append(float(-numpy.log2(shares).sum()))
        return totals


def _keys(text: bytes, length: int) -> Any:
    """Of each byte that has `length` bytes before it, those and it as one number."""
    letters = numpy.frombuffer(text, dtype=numpy.uint8).astype(numpy.uint64)
    keys = numpy.zeros(max(0, len(letters) - length), dtype=numpy.uint64)
    for place in range(length + 1):
        keys = (keys << numpy.uint64(8)) | letters[place : place + len(keys)]
    return keys


def _count(text: bytes, length: int) -> _Order:
    grams, gram_counts = numpy.unique(_keys(text, length), return_counts=True)
    contexts, firsts = numpy.unique(grams >> numpy.uint64(8), return_index=True)
    kinds = numpy.diff(numpy.append(firsts, len(grams)))
    return _Order(grams, gram_counts, contexts, numpy.add.reduceat(gram_counts, firsts), kinds)


def _mixed(order: _Order, text: bytes, length: int, shares: Any) -> Any:
    """Each byte's probability by its longer context, where that was seen, and by the shorter."""
    keys = _keys(text, length)
    heads = keys >> numpy.uint64(8)
    seen = _found(order.grams, order.gram_counts, keys)
    total = _found(order.contexts, order.context_counts, heads)
    kinds = _found(order.contexts, order.context_kinds, heads)
    mixed = shares.copy()
    shorter = shares[length:]
    known = total > 0
    longer = (seen + kinds * shorter)[known] / (total + kinds)[known]
    mixed[length:][known] = longer
    return mixed


def _found(keys: Any, values: Any, wanted: Any) -> Any:
    """The value of each wanted key; 0 for one that is not there."""
    places = numpy.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return numpy.where(keys[places] == wanted, values[places], 0)
