"""The engine of GANs and VAEs: samples of what they were trained on.

A row is one picture. Its noise comes from its own seed, on the CPU, so that
neither its batch mates nor the device change it. Knows no trainer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output, Picture
from genfarm_workers.engines.batch import BatchEngine, Row
from genfarm_workers.engines.drawing import Drawing, load_drawer
from genfarm_workers.engines.pictures import to_pictures
from genfarm_workers.engines.portable import ExportParts

#: Cosine of two directions beyond which a walk between them is a straight line.
_PARALLEL = 0.9995
#: Samples that an export is tried with.
_EXAMPLES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What one picture is drawn from."""

    #: Noise, or a point of the latent space as it is: (latent,).
    noise: torch.Tensor
    #: Shares of the classes, (labels,).
    classes: torch.Tensor
    is_placed: bool = False


class SamplesEngine(BatchEngine[tuple[Picture, str | None]]):
    """Each step draws one batch."""

    def load(self) -> None:
        self._drawer = load_drawer(self.entry, self.device)
        self._design = self._drawer.design
        self.run(())  # the first call of a shape costs a device more than the others

    def modules(self) -> list[Any]:
        forward = self._drawer.forward
        return [forward] if isinstance(forward, torch.nn.Module) else []

    def export_parts(self) -> ExportParts:
        """Noise, or points, to pictures (B, channels, size, size) from -1 to 1."""
        drawn = [self._sample(seed, None) for seed in range(_EXAMPLES)]
        placed = torch.arange(_EXAMPLES, device=self.device)[:, None] % 2 == 1
        noise, classes = (self._send(parts) for parts in zip(*drawn, strict=True))
        inputs = self._drawer.chosen(noise, classes, placed)
        return ExportParts(cast("Drawing", self._drawer.forward), inputs, output="pictures")

    def refusal(self, claim: Claim) -> Failure | None:
        return self._label_fault(claim.params["label"]) or self._latents_fault(claim)

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Sequence[tuple[Picture, str | None]]:
        points = [self._point(row) for row in rows]
        empty = Point(torch.zeros(self._design.latent), torch.zeros(len(self._design.labels)))
        full = [*points, *[empty] * (self.padded - len(points))]
        noise = self._send([point.noise for point in full])
        classes = self._send([point.classes for point in full])
        placed = torch.tensor([[point.is_placed] for point in full], device=self.device)
        pictures = self._drawer.draw(noise, classes, placed)[: len(rows)] / 2 + 0.5
        drawn = to_pictures(pictures.float().expand(-1, 3, -1, -1))
        return [(pic, self._name(point)) for pic, point in zip(drawn, points, strict=True)]

    def finish(self, claim: Claim, pieces: Sequence[tuple[Picture, str | None]]) -> Output:
        is_walk = claim.params["to_seed"] is not None
        output = {
            # All pictures of a walk come from its two seeds.
            "seeds": [claim.seed if is_walk else Row(claim, k).seed for k in range(claim.rows)],
            "labels": [name for _, name in pieces],
        }
        return Output(claim.task_id, output=output, files=[picture for picture, _ in pieces])

    def _point(self, row: Row) -> Point:
        params = row.claim.params
        if params["latents"] is not None:
            _, classes = self._sample(row.seed, params["label"])
            return Point(torch.tensor(params["latents"][row.k]), classes, is_placed=True)
        if params["to_seed"] is None:
            noise, classes = self._sample(row.seed, params["label"])
        else:
            noise, classes = self._walk(row)
        return Point(noise * params["truncation"], classes)

    def _walk(self, row: Row) -> tuple[torch.Tensor, torch.Tensor]:
        params = row.claim.params
        start = self._sample(row.claim.seed, params["label"])
        end = self._sample(params["to_seed"], params["label"])
        share = row.k / max(1, row.claim.rows - 1)
        return slerp(start[0], end[0], share), torch.lerp(start[1], end[1], share)

    def _sample(self, seed: int, label: str | int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise and classes of a seed; it chooses the class, too, when none is asked for."""
        chance = torch.Generator().manual_seed(seed)
        noise = torch.randn(self._design.latent, generator=chance)
        classes = torch.zeros(len(self._design.labels))
        if self._design.labels:
            any_class = int(torch.randint(len(self._design.labels), (), generator=chance))
            classes[any_class if label is None else self._number(label)] = 1.0
        return noise, classes

    def _number(self, label: str | int) -> int:
        """A name comes before a number: the classes may be named by numbers."""
        names = list(self._design.labels)
        return names.index(str(label)) if str(label) in names else int(label)

    def _name(self, point: Point) -> str | None:
        """Of the class, or of the nearest; None where the model has none or the point decides."""
        if not self._design.labels or (point.is_placed and self._drawer.points_say_class):
            return None
        return self._design.labels[int(point.classes.argmax())]

    def _send(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(rows)).to(self.device, self._drawer.dtype)

    def _label_fault(self, label: str | int | None) -> Failure | None:
        names = list(self._design.labels)
        if label is None or str(label) in names:
            return None
        if not names:
            return _refused(
                f"label={label!r}: {self.entry.key} was trained without classes; leave label away"
            )
        if isinstance(label, int) and 0 <= label < len(names):
            return None
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        return _refused(
            f"label={label!r} is no class of {self.entry.key}; expected one of {shown}, or its "
            f"place from 0 to {len(names) - 1}"
        )

    def _latents_fault(self, claim: Claim) -> Failure | None:
        latents, width = claim.params["latents"], self._design.latent
        if latents is None:
            return None
        wrong = next((k for k, point in enumerate(latents) if len(point) != width), None)
        if wrong is not None:
            return _refused(
                f"latents[{wrong}] has {len(latents[wrong])} numbers; a point of {self.entry.key} "
                f"has {width}"
            )
        both = "to_seed" if claim.params["to_seed"] is not None else None
        if claim.params["label"] is not None and self._drawer.points_say_class:
            both = "label"
        return _refused(f"latents and {both} exclude each other; give one") if both else None


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """The way over the sphere, which keeps the length that noise has; its ends are exact."""
    if share in (0.0, 1.0):
        return end if share else start
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    if cosine.abs() > _PARALLEL:
        return torch.lerp(start, end, share)
    angle = cosine.arccos()
    mixed = ((1 - share) * angle).sin() * start + (share * angle).sin() * end
    along: torch.Tensor = mixed / angle.sin()
    return along


def _refused(message: str) -> Failure:
    return Failure("invalid_params", message)
