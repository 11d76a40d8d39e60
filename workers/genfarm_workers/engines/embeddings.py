"""What text encoders have said before, so that a prompt is encoded once.

Kept by the tokens of the text, each text encoded alone at the encoder's own
shape: an answer from here has the bytes of one that was computed. An empty
negative prompt, which most pictures share, is one entry. Holds digests of
tokens and never a text. Knows no pipeline.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

from genfarm_workers.engines.ensemble import digest, leaves_of
from genfarm_workers.engines.solo import Call

#: Not measured: some thousands of prompts of CLIP, some dozens of a large T5.
MOST_BYTES = 256 << 20


class Embeddings:
    """The least recently used go first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[object, ...], tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def recall(self, call: Call) -> Any:
        """The answer to an encoder's call; nobody may write into it."""
        key = _key(call)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        answer = call.answer()
        size = sum(tensor.nbytes for tensor in _tensors(answer))
        if size <= self._most_bytes:
            self._kept[key] = (answer, size)
            self.bytes += size
            self._shed()
        return answer

    def _shed(self) -> None:
        while self.bytes > self._most_bytes:
            _, (_, size) = self._kept.popitem(last=False)
            self.bytes -= size


def _key(call: Call) -> tuple[object, ...]:
    arguments = (call.args, tuple(sorted(call.kwargs.items())))
    rest = [repr(one) for one in leaves_of(arguments) if not isinstance(one, torch.Tensor)]
    return (call.component, digest(list(_tensors(arguments))), *rest)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in leaves_of(value) if isinstance(leaf, torch.Tensor))
