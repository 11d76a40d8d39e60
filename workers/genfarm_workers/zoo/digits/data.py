"""Real handwritten digits: loaded, split for good, enlarged, shaken and painted.

It knows no model and no prompt. "Ink" is a tensor (N, H, W) from 0 (paper) to 1 (full stroke).
Source: scikit-learn's bundled copy of the UCI optical digits, 1,797 pictures of 8x8.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Edge of a drawn picture, in pixels.
SIZE = 32

#: Pictures no training sees; a fifth.
HELD_OUT = 360

#: Ink colours a prompt may name, red green blue from 0 to 1; the first is the default.
INKS = {
    "black": (0.08, 0.08, 0.10),
    "blue": (0.10, 0.25, 0.80),
    "red": (0.82, 0.12, 0.14),
    "green": (0.05, 0.52, 0.24),
}

# One split for the judge and the digits, whatever the seed of a run: otherwise the
# judge of one run could have been trained on what another run holds out.
_SPLIT_SEED = 1797


@dataclass(frozen=True, slots=True)
class Digits:
    """Real digits."""

    #: Ink, (N, 8, 8).
    ink: Tensor
    #: Digit of each, (N,), int64.
    labels: Tensor


def real_digits(*, held_out: bool) -> Digits:
    """The training part, or the held-out part, of the 1,797 digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    ink = torch.tensor(bunch.images, dtype=torch.float32) / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    chosen = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    return Digits(ink[chosen], labels[chosen])


def training_digits_like(labels: Tensor, count: int) -> Digits:
    """At most `count` digits of the training part, drawn by chance but in the same mix.

    A Frechet distance sees the mix, too: two sets of one hand but of other shares lie apart.
    """
    training = real_digits(held_out=False)
    order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(0))
    places = (torch.arange(count) * len(labels) / count).long()
    wanted = labels.sort().values[places].bincount(minlength=10).tolist()
    shuffled = training.labels[order]
    chosen = torch.cat([order[shuffled == digit][:some] for digit, some in enumerate(wanted)])
    return Digits(training.ink[chosen], training.labels[chosen])


def enlarge(ink: Tensor, softness: Tensor | float = 0.25) -> Tensor:
    """(N, 8, 8) to (N, 32, 32): bicubic, then a steep ramp, so that strokes get clear edges.

    ``softness`` is half the ramp's width in ink, one number or (N, 1, 1); 0.5 is the plain bicubic.
    """
    large = functional.interpolate(ink[:, None], size=(SIZE, SIZE), mode="bicubic")[:, 0]
    ramp = ((large - 0.5) / (2 * softness) + 0.5).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def jitter(ink: Tensor, generator: torch.Generator, share: float = 1.0) -> Tensor:
    """Turn (12 degrees), lean, stretch (10 %) and shift (2 pixels) each picture (N, H, W).

    ``share`` is how much of all that.
    """
    count = len(ink)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * (limit * share)

    angle, lean = uniform(0.21), uniform(0.15)
    wide, high = 1 + uniform(0.1), 1 + uniform(0.1)
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        torch.stack([cosine * wide, (lean - sine) * wide, uniform(0.12)], dim=1),
        torch.stack([sine * high, cosine * high, uniform(0.12)], dim=1),
    ]
    shape = [count, 1, *ink.shape[1:]]
    grid = functional.affine_grid(torch.stack(rows, dim=1), shape, align_corners=False)
    return functional.grid_sample(ink[:, None], grid, align_corners=False)[:, 0]


def paint(ink: Tensor, colours: Tensor) -> Tensor:
    """Ink (N, H, W) in colours (N, 3) on white paper: (N, 3, H, W) from -1 to 1."""
    picture = 1 - ink[:, None] * (1 - colours[:, :, None, None])
    return picture * 2 - 1
