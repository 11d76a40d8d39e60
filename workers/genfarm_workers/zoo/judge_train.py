"""Trains and measures the judge on real digits; knows nothing of the model that draws them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.zoo.digits.data import Digits, enlarge, jitter, paint, real_digits
from genfarm_workers.zoo.judge import SIGHT, WEIGHTS, Judge, build_network
from genfarm_workers.zoo.training import Plan, descend, recorded

#: Under a minute on one core; 300 already read 358 of the 360 held-out digits.
DEFAULT_STEPS = 1_000

_BATCH = 64
_PEAK_RATE = 3e-3


@dataclass(frozen=True, slots=True)
class JudgeMetrics:
    """How well the judge reads real digits that it never saw."""

    #: Real pictures held out of every training.
    pictures: int
    #: Of these, recognised.
    recognised: int
    #: Share recognised, 0 to 1.
    accuracy: float


def train_judge(plan: Plan) -> None:
    with recorded("judge", plan) as modules:
        network = build_network().train()
        modules.append(network)
        losses = _losses(network, real_digits(held_out=False), plan.seed)
        for _ in descend("judge", losses, network, steps=plan.steps, peak=_PEAK_RATE):
            pass
        save_model(network, str(plan.out / WEIGHTS))


def measure_judge(directory: Path) -> JudgeMetrics:
    digits = real_digits(held_out=True)
    verdicts = Judge.load(directory).recognise(as_images(digits.ink))
    pairs = zip(verdicts, digits.labels.tolist(), strict=True)
    recognised = sum(verdict.digit == label for verdict, label in pairs)
    return JudgeMetrics(len(verdicts), recognised, recognised / len(verdicts))


def as_images(ink: Tensor) -> list[Image.Image]:
    """Real digits (N, 8, 8) as the pictures a drawing model would make of them, black on white."""
    pictures = paint(enlarge(ink), torch.zeros(len(ink), 3))
    pixels = ((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(array) for array in pixels.numpy()]


def _losses(network: nn.Module, digits: Digits, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        chosen = torch.randint(len(digits.labels), (_BATCH,), generator=generator)
        sights = _vary(digits.ink[chosen], generator)
        yield functional.cross_entropy(network(sights), digits.labels[chosen], label_smoothing=0.05)


def _vary(ink: Tensor, generator: torch.Generator) -> Tensor:
    """Ink (N, 8, 8) to sights (N, 1, 16, 16) of any edge softness, shaken and a little noisy."""
    softness = 0.15 + 0.35 * torch.rand(len(ink), 1, 1, generator=generator)
    shaken = jitter(enlarge(ink, softness), generator)
    sights = functional.adaptive_avg_pool2d(shaken[:, None], SIGHT)
    return sights + 0.05 * torch.randn(sights.shape, generator=generator)
