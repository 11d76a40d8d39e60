"""Engines that say which labels fit: texts by BERT and its kin, pictures by ResNet, ViT and theirs.

Models that transformers' `AutoModelForSequenceClassification` and
`AutoModelForImageClassification` load. Knows no training and no particular model.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output
from genfarm_workers.engines.encoders import TextEncoder, check_padding, load_encoder
from genfarm_workers.engines.portable import ExportParts
from genfarm_workers.engines.shaped import ShapedEngine
from genfarm_workers.engines.sights import PictureReader, load_reader

#: The score of each label of a model, in its own order.
Scores = list[float]


class TextClassifierEngine(ShapedEngine[list[int], Scores]):
    """Texts of one width share a device call."""

    def load(self) -> None:
        from transformers import AutoModelForSequenceClassification as Auto

        self._encoder: TextEncoder = load_encoder(self.entry, self.device, Auto)
        if self._encoder.modules:
            check_padding(self._encoder)
        self._labels = labels_of(self._encoder.model.config)
        self.warm_up(self._encoder.example)

    def modules(self) -> list[Any]:
        return self._encoder.modules

    def export_parts(self) -> ExportParts:
        return self._encoder.parts("logits")

    def read(self, claim: Claim) -> list[int] | Failure:
        return self._encoder.encode(claim.params["text"])

    def shape_of(self, entered: list[int]) -> Hashable:
        return self._encoder.width_of(entered)

    @torch.inference_mode()
    def compute(self, inputs: Sequence[list[int]]) -> list[Scores]:
        model = self._encoder.model
        return scores_of(model.config, model(**self._encoder.batch(inputs)).logits)

    def finish(self, claim: Claim, pieces: Sequence[Scores]) -> Output:
        return labelled(claim, self._labels, pieces[0])


class ImageClassifierEngine(ShapedEngine[torch.Tensor, Scores]):
    """Pictures share a device call once they are brought to the model's own size."""

    def load(self) -> None:
        from transformers import AutoModelForImageClassification as Auto

        self._reader: PictureReader = load_reader(self.entry, self.device, Auto)
        self._labels = labels_of(self._reader.model.config)
        self.warm_up(self._reader.example())

    def modules(self) -> list[Any]:
        return self._reader.modules

    def export_parts(self) -> ExportParts:
        return self._reader.parts()

    def read(self, claim: Claim) -> torch.Tensor | Failure:
        return self._reader.see(claim, "image")

    def shape_of(self, entered: torch.Tensor) -> Hashable:
        return tuple(entered.shape)

    @torch.inference_mode()
    def compute(self, inputs: Sequence[torch.Tensor]) -> list[Scores]:
        model = self._reader.model
        return scores_of(model.config, model(pixel_values=self._reader.batch(inputs)).logits)

    def finish(self, claim: Claim, pieces: Sequence[Scores]) -> Output:
        return labelled(claim, self._labels, pieces[0])


def labels_of(config: Any) -> list[str]:
    """The model's labels in the order of its logits."""
    named: Mapping[int, str] = config.id2label
    return [str(named.get(place, f"LABEL_{place}")) for place in range(config.num_labels)]


def scores_of(config: Any, logits: torch.Tensor) -> list[Scores]:
    """Logits (B, labels) to probabilities; of labels that may fit together, each by itself.

    A regression's numbers stay as they are. All as transformers' own pipeline does: a single
    label that is not said to be a regression is a probability, too.
    """
    exact, problem = logits.float(), getattr(config, "problem_type", None)
    if problem == "multi_label_classification" or (problem is None and exact.shape[1] == 1):
        exact = exact.sigmoid()
    elif problem != "regression":
        exact = exact.softmax(dim=1)
    rows: list[Scores] = exact.cpu().tolist()
    return rows


def labelled(claim: Claim, labels: Sequence[str], scores: Scores) -> Output:
    """The task's best labels, the likeliest first; of equal ones the model's own order counts."""
    order = sorted(range(len(labels)), key=lambda place: -scores[place])
    best = [{"label": labels[k], "score": scores[k]} for k in order[: claim.params["top_k"]]]
    return Output(claim.task_id, output={"labels": best})
