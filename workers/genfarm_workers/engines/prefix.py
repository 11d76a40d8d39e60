"""Keys and values of prompts' beginnings, kept for the next prompt that begins so.

A prompt is always computed in the same chunks, whether its beginning is kept
or not; a kept chunk is what computing it again would give, so it changes no
byte. Least recently used chunks go first. Knows token ids and tensors.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch

from genfarm_workers.engines.kv import Pair

#: Tokens per chunk, and so the grain of sharing. 64 to 512 cost the same CPU-seconds for a
#: prompt of 500 tokens within 10 %: what more calls cost, less masked attention saves.
CHUNK = 128


class PrefixStore:
    """Chunks by everything that comes before them, within a budget of bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        #: A pair per layer.
        self._chunks: OrderedDict[bytes, Sequence[Pair]] = OrderedDict()
        self._bytes = 0

    def find(self, ids: Sequence[int]) -> tuple[int, list[Pair]]:
        """How many of the prompt's first tokens are known, and a pair per layer of them.

        Never the whole prompt: its last token has to be computed for its logits.
        """
        found = []
        for name in _names(ids[: len(ids) - 1]):
            if name not in self._chunks:
                break
            self._chunks.move_to_end(name)
            found.append(self._chunks[name])
        return len(found) * CHUNK, [_joined(pairs) for pairs in zip(*found, strict=True)]

    def keep(self, ids: Sequence[int], chunk: Sequence[Pair]) -> None:
        """Keep the last `CHUNK` columns of `ids`, whose length is a multiple of it."""
        *_, name = _names(ids)
        size = _size(chunk)
        if name in self._chunks or size > self._budget:
            return
        self._chunks[name] = chunk
        self._bytes += size
        while self._bytes > self._budget:
            _, gone = self._chunks.popitem(last=False)
            self._bytes -= _size(gone)

    @property
    def is_on(self) -> bool:
        return self._budget > 0


def _joined(pairs: Sequence[Pair]) -> Pair:
    keys, values = zip(*pairs, strict=True)
    return torch.cat(keys, dim=2), torch.cat(values, dim=2)


def _size(chunk: Sequence[Pair]) -> int:
    return sum(part.numel() * part.element_size() for pair in chunk for part in pair)


def _names(ids: Sequence[int]) -> Iterator[bytes]:
    """A digest for each whole chunk of the ids and all before it."""
    digest = hashlib.blake2b(digest_size=16)
    for end in range(CHUNK, len(ids) + 1, CHUNK):
        digest.update(array("q", ids[end - CHUNK : end]).tobytes())
        yield digest.digest()
