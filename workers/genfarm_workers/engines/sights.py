"""Loads a model that looks at pictures, with its image processor, and makes its inputs.

The processor is transformers' own, in Pillow: the same pixels whether or not torchvision is
installed. What the model says of a picture is its engine's affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from genfarm_shared.errors import MissingExtra, ModelUnavailable
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.exported import StandIn, stand_in
from genfarm_workers.engines.heads import widen
from genfarm_workers.engines.opening import open_picture
from genfarm_workers.engines.portable import ExportParts, OneOutput, is_export
from genfarm_workers.engines.precision import load_dtype, lowered
from genfarm_workers.engines.weights import find_weights, quiet_libraries

_OPTIONS = {"local_files_only": True, "trust_remote_code": False}


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

    quiet_libraries()
    folder = find_weights(entry)
    try:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **_OPTIONS)
        if is_export(folder):
            model: Any = stand_in(entry, folder, device)
        else:
            dtype = load_dtype(entry, device)
            model = auto.from_pretrained(folder, dtype=dtype, use_safetensors=True, **_OPTIONS)
            model = widen(lowered(model, entry).to(device).eval())
    except (OSError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, MissingExtra):
            raise
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is nothing that {auto.__name__} can load "
            f"({type(error).__name__}: {error}). Correct source or engine in models.toml"
        ) from error
    return PictureReader(entry.key, model, processor, device)
