"""The pictures a generator learns from, whatever they come from. Reads no files.

Drawn batches depend on the generator of random numbers alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.engines.sight import border_tones
from genfarm_workers.zoo.digits.data import enlarge, jitter, real_digits

#: How much digits are shaken. All of it doubles the distance of the pictures from real digits,
#: none lets a critic learn 1,437 of them by heart.
_SHAKE = 0.5
#: How far the tone of a border may lie from black or white to count as paper.
_PAPER_REACH = 0.5
#: Share of pictures that must have such a border.
_PAPER_SHARE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures in memory, a byte for each tone."""

    #: (N, C, S, S), uint8.
    pixels: Tensor
    #: Class of each, (N,), int64; zeros where there are none.
    labels: Tensor
    #: Names of the classes; none for pictures of one folder.
    names: Sequence[str]
    #: What they are, for people.
    told: str
    #: Shakes a batch of pictures from -1 to 1.
    shake: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def draw(self, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch (count, C, S, S) from -1 to 1, with repeats, and its labels."""
        chosen = torch.randint(len(self.labels), (count,), generator=chance)
        tones = as_tones(self.pixels[chosen])
        return (tones if self.shake is None else self.shake(tones, chance)), self.labels[chosen]

    def some(self, most: int) -> Tensor:
        """Places of at most so many, evenly over all: those of a folder lie class by class."""
        return torch.arange(0, len(self.labels), -(-len(self.labels) // most))

    def digest(self) -> str:
        """A hash of all of them, by which a checkpoint knows its data."""
        held = hashlib.sha256(self.pixels.numpy().tobytes())
        held.update(self.labels.numpy().tobytes())
        return held.hexdigest()

    def paper(self) -> float | None:
        """Tone of the paper, from -1 to 1, where most pictures are on one; else None."""
        edges = border_tones(as_tones(self.pixels))
        for tone in (1.0, -1.0):
            if ((edges - tone).abs() < _PAPER_REACH).float().mean() >= _PAPER_SHARE:
                return tone
        return None


def as_tones(pixels: Tensor) -> Tensor:
    """Bytes to tones from -1 to 1."""
    return pixels.float() / 127.5 - 1


def digit_pictures(size: int, *, held_out: bool = False) -> Pictures:
    """scikit-learn's digits, black on white, as (N, 1, size, size)."""
    digits = real_digits(held_out=held_out)
    large = _resized(1 - enlarge(digits.ink)[:, None], size)
    pixels = (large * 255).round().clamp(0, 255).to(torch.uint8)
    names = [str(digit) for digit in range(10)]
    return Pictures(pixels, digits.labels, names, "scikit-learn's bundled digits", _shaken)


def _shaken(tones: Tensor, chance: torch.Generator) -> Tensor:
    # Shaking leaves 0 at the edges, so the paper has to be 0.
    return 1 - jitter(1 - tones[:, 0], chance, _SHAKE)[:, None]


def _resized(pictures: Tensor, size: int) -> Tensor:
    return functional.interpolate(
        pictures, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
