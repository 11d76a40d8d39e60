"""What the GANs are trained against: networks that tell drawn pictures from real ones.

They end with the training; nothing of them is kept but in a checkpoint. The class takes part by
projection (arXiv 1802.05637), and the DCGAN's critic also names it (arXiv 1610.09585): without
that, digits had a shape long before they had their class. The spread within a batch is shown as a
feature (arXiv 1710.10196); the textbook DCGAN collapsed to one digit.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.engines.generators import Design


class Critic(nn.Module, ABC):
    """Pictures (N, C, S, S) and classes (N, labels) to logits, above 0 for real ones."""

    def __init__(self, design: Design, features: int, *, is_naming: bool = False) -> None:
        super().__init__()
        self.verdict = nn.Linear(features, 1)
        self.expected = nn.Parameter(torch.zeros(len(design.labels), features))
        self.names = nn.Linear(features, len(design.labels)) if is_naming else None

    @abstractmethod
    def describe(self, pictures: Tensor) -> Tensor:
        """Features (N, features)."""

    def forward(self, pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and how badly the critic names the classes, if it does: (N,) and ()."""
        features = self.describe(pictures)
        logits: Tensor = self.verdict(features)[:, 0]
        logits = logits + (features * (classes @ self.expected)).sum(dim=1)
        if self.names is None:
            return logits, logits.new_zeros(())
        return logits, functional.cross_entropy(self.names(features), classes)


class MlpCritic(Critic):
    """Fully connected."""

    def __init__(self, design: Design, width: int = 256) -> None:
        super().__init__(design, width)
        pixels = design.channels * design.size**2
        self.first = nn.Sequential(nn.Linear(pixels, 2 * width), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(nn.Linear(2 * width + 1, width), nn.LeakyReLU(0.2))

    def describe(self, pictures: Tensor) -> Tensor:
        seen: Tensor = self.first(pictures.flatten(1))
        features: Tensor = self.second(torch.cat([seen, _spread(seen)], dim=1))
        return features


class ConvolutionalCritic(Critic):
    """Strided convolutions down to 4x4."""

    def __init__(self, design: Design, width: int = 16) -> None:
        features = 4 * width
        super().__init__(design, features, is_naming=bool(design.labels))
        layers: list[nn.Module] = []
        for inputs, outputs in (
            (design.channels, width),
            (width, 2 * width),
            (2 * width, features),
        ):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.first = nn.Sequential(*layers)
        self.second = nn.Sequential(
            nn.Conv2d(features + 1, features, 4), nn.LeakyReLU(0.2), nn.Flatten()
        )

    def describe(self, pictures: Tensor) -> Tensor:
        seen: Tensor = self.first(pictures)
        spread = _spread(seen)[:, :, None, None].expand(-1, 1, *seen.shape[2:])
        features: Tensor = self.second(torch.cat([seen, spread], dim=1))
        return features


def build_critic(design: Design) -> Critic:
    return ConvolutionalCritic(design) if design.type == "dcgan" else MlpCritic(design)


def _spread(features: Tensor) -> Tensor:
    """Mean deviation of the features over the batch, said to each row: (N, 1)."""
    deviation = (features.var(dim=0, correction=0) + 1e-8).sqrt().mean()
    return deviation.expand(len(features), 1)
