"""Measures a generator: are its digits the ones asked for, and how far are they from real ones?

The judge says both; it was trained on real digits alone. It trains nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from genfarm_workers.engines.generators import Generator, load_generator, one_hot
from genfarm_workers.judging.frechet import frechet_distance
from genfarm_workers.zoo.digits.data import SIZE, real_digits, training_digits_like
from genfarm_workers.zoo.generators.sheets import as_images
from genfarm_workers.zoo.judge import Judge
from genfarm_workers.zoo.judge_train import as_images as as_paintings
from genfarm_workers.zoo.training import read_training

_PER_DIGIT = 100
_BATCH = 100
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True, slots=True)
class GeneratorMetrics:
    """How often a digit is recognised as the one asked for, and three Frechet distances."""

    #: Pictures drawn, from one stream of noise.
    pictures: int
    #: Share recognised, 0 to 1.
    recognised: float
    #: The same for each digit.
    per_digit: dict[str, float]
    #: Pictures on either side of each distance.
    fid_pictures: int
    #: Of drawn digits from the held-out real ones; the judge's last layer but one is compared.
    fid: float
    #: Of as many real digits of the training part from the same, as many of each digit as there
    #: are drawn ones. Two sets of real ones differ by chance; a generator that learnt from all of
    #: the training part can come a little nearer.
    fid_of_real: float
    #: Of as many pictures of noise from the same.
    fid_of_noise: float


@dataclass(frozen=True, slots=True)
class OwnMetrics:
    """What can be said of a generator of pictures that the judge cannot read."""

    #: Classes that it was trained with.
    classes: int
    #: 1 for grey, 3 for colours.
    channels: int


def measure_generator(
    directory: Path, per_digit: int = _PER_DIGIT
) -> GeneratorMetrics | OwnMetrics:
    """Draw `per_digit` pictures of each digit and have them judged; and compare with real ones.

    The judge knows the digits that ship, and no other hand or look: a generator of the user's
    own pictures has no such figures, even where they are digits.
    """
    generator = load_generator(directory)
    if read_training(directory).data or tuple(generator.design.labels) != _DIGITS:
        return OwnMetrics(len(generator.design.labels), generator.design.channels)
    judge, chance = Judge.load(), torch.Generator().manual_seed(0)
    asked = torch.arange(10).repeat_interleave(per_digit)
    verdicts = judge.recognise(draw(generator, asked, chance))
    right = torch.tensor([verdict.digit for verdict in verdicts]) == asked
    shares = right.view(10, per_digit).double().mean(dim=1).tolist()
    held_out = real_digits(held_out=True)
    count = len(held_out.labels)
    others = training_digits_like(held_out.labels, count)
    real = judge.describe(as_paintings(held_out.ink))[0]
    noise = 2 * torch.rand(count, 1, SIZE, SIZE, generator=chance) - 1
    distances = [
        frechet_distance(judge.describe(images)[0], real)
        for images in (
            draw(generator, held_out.labels, chance),
            as_paintings(others.ink),
            as_images(noise),
        )
    ]
    per = dict(zip(_DIGITS, shares, strict=True))
    return GeneratorMetrics(len(asked), sum(shares) / 10, per, count, *distances)


@torch.inference_mode()
def draw(generator: Generator, labels: Tensor, chance: torch.Generator) -> list[Image.Image]:
    """A picture of each class asked for."""
    images: list[Image.Image] = []
    for part in torch.split(labels, _BATCH):
        noise = torch.randn(len(part), generator.design.latent, generator=chance)
        images += as_images(generator(noise, one_hot(part, generator.design)))
    return images
