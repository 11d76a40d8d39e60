"""Inception-v3 as FID uses it: pictures to 2,048 features, with weights from the user's file.

Rethinking the Inception Architecture (arXiv 1512.00567). The weights are a
safetensors file with torchvision's names of layers; of 1,008 classes they are
those of the first FID, whose pooling differs a little from torchvision's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from genfarm_shared.errors import ModelUnavailable

#: Edge of what it sees, pixels, and features that it gives.
SIGHT, FEATURES = 299, 2048
#: Classes of the weights that the first FID was taken with.
FID_CLASSES = 1008
#: Pictures at once; bounds memory. Not measured.
BATCH = 16
#: Of every batch normalisation in it.
_EPSILON = 0.001
#: What each of them holds, in torch's order.
_NORM = ("bn.running_mean", "bn.running_var", "bn.weight", "bn.bias")

#: Branches of each form of block, layer after layer; `/2` halves the edge and pads nothing.
#: Where a step holds several layers, each takes what came before, side by side.
_A = ("branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
_B = ("branch3x3/2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/2")
_C = (
    "branch1x1",
    "branch7x7_1 branch7x7_2 branch7x7_3",
    "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
)
_D = ("branch3x3_1 branch3x3_2/2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/2")
_E = (
    "branch1x1",
    "branch3x3_1 branch3x3_2a,branch3x3_2b",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a,branch3x3dbl_3b",
)
_BLOCKS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _E),
}


class Inception:
    """The network without its last layer."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = {name: tensor.float() for name, tensor in weights.items()}
        self._is_fid = len(weights["fc.weight"]) == FID_CLASSES

    @classmethod
    def load(cls, file: Path) -> "Inception":
        """Raises ModelUnavailable for a file that does not hold this network."""
        expected = (
            "expected Inception-v3 as safetensors with torchvision's names of layers "
            "(Conv2d_1a_3x3.conv.weight, ..., fc.weight)"
        )
        if file.suffix != ".safetensors" or not file.is_file():
            raise ModelUnavailable(f"{file} is no safetensors file; {expected}")
        try:
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise ModelUnavailable(f"{file} cannot be read ({error}); {expected}") from error
        lacking = [
            name
            for name in layer_names()
            if any(f"{name}.{part}" not in weights for part in ("conv.weight", *_NORM))
        ]
        if "fc.weight" not in weights:
            lacking.append("fc")
        if lacking:
            raise ModelUnavailable(
                f"{file} lacks {len(lacking)} layers or a part of them, {lacking[0]} among them; "
                f"{expected}"
            )
        return cls(weights)

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image]) -> Tensor:
        """Features (N, 2048)."""
        parts = [
            self._forward(torch.cat([_see(image) for image in images[start : start + BATCH]]))
            for start in range(0, len(images), BATCH)
        ]
        return torch.cat(parts)

    def _forward(self, x: Tensor) -> Tensor:
        x = self._layer("Conv2d_1a_3x3/2", x)
        x = self._layer("Conv2d_2a_3x3", x, padded=False)
        x = functional.max_pool2d(self._layer("Conv2d_2b_3x3", x), 3, 2)
        x = self._layer("Conv2d_4a_3x3", self._layer("Conv2d_3b_1x1", x), padded=False)
        x = functional.max_pool2d(x, 3, 2)
        for block, branches in _BLOCKS.items():
            x = self._block(block, branches, x)
        return x.mean(dim=(2, 3))

    def _block(self, block: str, branches: Sequence[str], x: Tensor) -> Tensor:
        found = []
        for branch in branches:
            y = x
            for step in branch.split():
                y = torch.cat([self._layer(f"{block}.{name}", y) for name in step.split(",")], 1)
            found.append(y)
        return torch.cat([*found, self._pool(block, x)], dim=1)

    def _pool(self, block: str, x: Tensor) -> Tensor:
        if block in {"Mixed_6a", "Mixed_7a"}:
            return functional.max_pool2d(x, 3, 2)
        if block == "Mixed_7c" and self._is_fid:
            pooled = functional.max_pool2d(x, 3, 1, 1)
        else:
            pooled = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=not self._is_fid)
        return self._layer(f"{block}.branch_pool", pooled)

    def _layer(self, said: str, x: Tensor, *, padded: bool = True) -> Tensor:
        """Convolution, normalisation, rectifier."""
        name, halves, _ = said.partition("/2")
        weight = self._weights[f"{name}.conv.weight"]
        high, wide = weight.shape[2:]
        padding = (high // 2, wide // 2) if padded and not halves else (0, 0)
        x = functional.conv2d(x, weight, stride=2 if halves else 1, padding=padding)
        mean, variance, scale, shift = (self._weights[f"{name}.{part}"] for part in _NORM)
        x = functional.batch_norm(x, mean, variance, scale, shift, eps=_EPSILON)
        return x.relu_()


def layer_names() -> list[str]:
    """Every layer that the weights must hold, but for the last."""
    names = [f"Conv2d_{place}" for place in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    for block, branches in _BLOCKS.items():
        words = " ".join(branches).replace("/2", "").replace(",", " ").split()
        names += [f"{block}.{word}" for word in words]
        if block not in {"Mixed_6a", "Mixed_7a"}:
            names.append(f"{block}.branch_pool")
    return names


def _see(image: Image.Image) -> Tensor:
    """(1, 3, 299, 299), from -1 to 1."""
    picture = image.convert("RGB")
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2).float() / 255
    large = functional.interpolate(pixels, size=(SIGHT, SIGHT), mode="bilinear")
    return large * 2 - 1
