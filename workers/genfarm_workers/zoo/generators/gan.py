"""How a GAN learns: generator and critic in turns, with noise on what the critic sees.

Method: the non-saturating loss (arXiv 1406.2661), instance noise that fades (arXiv 1610.04490)
and an average of the generator's weights. It knows neither files nor figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from genfarm_workers.engines.generators import Design, Generator, build_generator, one_hot
from genfarm_workers.zoo.generators.critics import build_critic
from genfarm_workers.zoo.generators.pictures import Pictures
from genfarm_workers.zoo.generators.settling import settle
from genfarm_workers.zoo.training import Average

#: Deviation of the noise on pictures from -1 to 1, at the first step and at the last. Without it
#: the critic tells drawn from real by a few pixels, and the DCGAN collapses.
FIRST_NOISE, LAST_NOISE = 0.35, 0.05


@dataclass(frozen=True, slots=True)
class Recipe:
    """What differs between the two."""

    batch: int
    #: Of the generator and of the critic.
    rates: tuple[float, float]
    decay: float = 0.995


RECIPES = {"gan": Recipe(64, (4e-4, 4e-4)), "dcgan": Recipe(32, (1e-3, 5e-4), 0.99)}


class GanLesson:
    """One training of a GAN, a step at a time."""

    def __init__(
        self, design: Design, pictures: Pictures, steps: int, chance: torch.Generator
    ) -> None:
        self._design, self._pictures, self._steps, self._chance = design, pictures, steps, chance
        self._recipe = RECIPES[design.type]
        self._batch = self._recipe.batch
        self._generator, self._critic = build_generator(design), build_critic(design)
        self._average = Average(self._generator, self._recipe.decay)
        self.modules: Mapping[str, nn.Module] = {
            "generator": self._generator,
            "critic": self._critic,
            "average": self._average.module,
        }
        self.optimisers: Mapping[str, Optimizer] = {
            part: Adam(self.modules[part].parameters(), lr=rate, betas=(0.5, 0.99))
            for part, rate in zip(("generator", "critic"), self._recipe.rates, strict=True)
        }

    def skip(self, steps: int) -> None:
        """So many are done, and what they left is in the modules and optimisers."""
        self._average.updates = steps

    def advance(self, step: int) -> Mapping[str, float]:
        """Take that step, from 0; returns its losses."""
        noise = self._pace(step)
        real, labels = self._pictures.draw(self._batch, self._chance)
        classes = one_hot(labels, self._design)
        drawn = self._generator(self._normal(self._batch, self._design.latent), classes)
        taken, _ = self._critic(self._blur(drawn.detach(), noise), classes)
        seen, misnamed = self._critic(self._blur(real, noise), classes)
        judged = functional.softplus(-seen).mean() + functional.softplus(taken).mean()
        self._descend("critic", judged + misnamed)
        taken, misnamed = self._critic(self._blur(drawn, noise), classes)
        fooled = functional.softplus(-taken).mean()
        self._descend("generator", fooled + misnamed)
        self._average.update(self._generator)
        return {"critic": judged.item(), "generator": fooled.item()}

    def sketch(self) -> Generator:
        """The generator as it is to be kept: averaged, its batch norms taken anew."""
        learnt: Generator = self._average.module  # type: ignore[assignment]
        own = torch.Generator().manual_seed(0)

        def draw() -> None:
            _, labels = self._pictures.draw(self._batch, own)
            noise = torch.randn(self._batch, self._design.latent, generator=own)
            learnt(noise, one_hot(labels, self._design))

        return settle(learnt, draw)

    def _pace(self, step: int) -> float:
        """Set the rates of that step; returns the deviation of its noise."""
        share = step / max(1, self._steps - 1)
        for optimiser, rate in zip(self.optimisers.values(), self._recipe.rates, strict=True):
            # Full for two thirds of the way, then down to a tenth.
            optimiser.param_groups[0]["lr"] = rate * min(1.0, 0.1 + 2.7 * (1 - share))
        return FIRST_NOISE + (LAST_NOISE - FIRST_NOISE) * share

    def _blur(self, pictures: Tensor, noise: float) -> Tensor:
        return pictures + noise * self._normal(*pictures.shape)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._chance)

    def _descend(self, part: str, loss: Tensor) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimisers[part].step()
