"""Loads a model that looks at pictures, with its image processor, and makes its inputs.

The processor is transformers' own, in Pillow: the same pixels whether or not torchvision is
installed. What the model says of a picture is its engine's affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.exported import StandIn
from genfarm_workers.engines.heads import widen
from genfarm_workers.engines.loading import Files, load_both
from genfarm_workers.engines.opening import open_picture
from genfarm_workers.engines.portable import ExportParts, OneOutput


@dataclass(frozen=True, slots=True)
class PictureReader:
    """A loaded model that looks at pictures, ready to run."""

    key: str
    model: Any
    processor: Any
    device: str

    def example(self) -> torch.Tensor:
        """Some picture as the model takes it."""
        return self._pixels(Image.linear_gradient("L").convert("RGB"))

    @property
    def modules(self) -> list[Any]:
        """Those whose weights can be moved."""
        return [] if isinstance(self.model, StandIn) else [self.model]

    def parts(self) -> ExportParts:
        """Pixels (B, 3, H, W) of the model's one size to its logits."""
        one = self.example()
        pixels = self.batch([one, one.flip(1), -one, one / 2])
        return ExportParts(
            OneOutput(self.model, ["pixel_values"]), {"pixel_values": pixels}, output="logits"
        )

    def see(self, claim: Claim, param: str) -> torch.Tensor | Failure:
        """Pixels (3, H, W) as the model takes them, or what is wrong with the picture."""
        picture = open_picture(claim, param)
        if isinstance(picture, Failure):
            return picture
        return self._pixels(picture)

    def batch(self, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pictures of one size as one tensor (B, 3, H, W) on the device."""
        return torch.stack(list(pictures)).to(self.device, self.model.dtype)

    def _pixels(self, picture: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = self.processor(picture, return_tensors="pt").pixel_values[0]
        return pixels


def load_reader(entry: ModelEntry, device: str, auto: Any) -> PictureReader:
    """Through an Auto class of transformers. Raises ModelUnavailable, saying what is missing."""
    from transformers import AutoImageProcessor

    processor, model = load_both(Files(entry, device), AutoImageProcessor, auto, backend="pil")
    if not isinstance(model, StandIn):
        model = widen(model)
    return PictureReader(entry.key, model, processor, device)
