"""The engine that makes texts points of a space: any encoder that `AutoModel` loads.

Folders of sentence-transformers pool and normalise as they say; others by the mean of their
tokens. Knows no training and no particular model.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch.nn import functional

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output
from genfarm_workers.engines.encoders import TextEncoder, load_encoder
from genfarm_workers.engines.pooling import WAYS, pool, read_pooling
from genfarm_workers.engines.portable import ExportParts
from genfarm_workers.engines.shaped import ShapedEngine
from genfarm_workers.engines.weights import find_weights

#: A text's vector by each way of pooling, since mates may differ in theirs: (ways, D), float32.
Vectors = torch.Tensor
#: Many encoders are published without: pooling here is of the states.
_UNUSED = ("pooler",)


class TextEmbeddingEngine(ShapedEngine[list[int], Vectors]):
    """Texts of one width share a device call, whatever their pooling."""

    def load(self) -> None:
        from transformers import AutoModel

        self._own = read_pooling(self.entry.key, find_weights(self.entry))
        self._encoder: TextEncoder = load_encoder(
            self.entry,
            self.device,
            AutoModel,
            self._own.model,
            self._own.most_tokens,
            _UNUSED,
        )
        self.warm_up(self._encoder.example)

    def modules(self) -> list[Any]:
        return self._encoder.modules

    def export_parts(self) -> ExportParts:
        return self._encoder.parts("last_hidden_state")

    def read(self, claim: Claim) -> list[int] | Failure:
        text = claim.params["text"]
        if text is None:
            return Failure(
                "invalid_params",
                f"model {self.entry.key!r} embeds texts; give a text, or name a model for pictures",
            )
        return self._encoder.encode(text.lower() if self._own.is_lowering else text)

    def shape_of(self, entered: list[int]) -> Hashable:
        return self._encoder.width_of(entered)

    @torch.inference_mode()
    def compute(self, inputs: Sequence[list[int]]) -> list[Vectors]:
        batch = self._encoder.batch(inputs)
        states = self._encoder.model(**batch).last_hidden_state
        pooled = [pool(states, batch["attention_mask"], way) for way in WAYS]
        return list(torch.stack(pooled, dim=1).cpu())

    def finish(self, claim: Claim, pieces: Sequence[Vectors]) -> Output:
        vector = pieces[0][WAYS.index(claim.params["pooling"] or self._own.way)]
        normalize = claim.params["normalize"]
        if self._own.is_normal if normalize is None else normalize:
            vector = functional.normalize(vector, dim=0)
        return Output(claim.task_id, output={"embedding": vector.tolist()})
