"""How the VAE learns: to restore pictures from latents that lie around the mean of their class.

Method: arXiv 1312.6114, with a learnt mean for the prior of each class. It knows neither files
nor figures.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from genfarm_workers.engines.generators import Design, Generator, Vae, build_generator, one_hot
from genfarm_workers.zoo.generators.pictures import Pictures, as_tones
from genfarm_workers.zoo.generators.settling import settle
from genfarm_workers.zoo.training import Average

_BATCH = 64
_PEAK_RATE = 3e-3
_DECAY = 0.99
#: Pictures at most by which samples are located; a class of MNIST has 2,000 of them then.
_LOCATED = 20_000
#: Weight of the pull towards the prior beside the sum over all pixels.
PULL = 2.0


class VaeLesson:
    """One training of the VAE, a step at a time."""

    def __init__(
        self, design: Design, pictures: Pictures, steps: int, chance: torch.Generator
    ) -> None:
        self._design, self._pictures, self._steps, self._chance = design, pictures, steps, chance
        vae = build_generator(design)
        assert isinstance(vae, Vae)  # noqa: S101  # of the design's type
        self._vae, self._average = vae, Average(vae, _DECAY)
        self.modules: Mapping[str, nn.Module] = {"vae": vae, "average": self._average.module}
        self.optimisers: Mapping[str, Optimizer] = {
            "vae": Adam(vae.parameters(), lr=_PEAK_RATE, betas=(0.9, 0.99))
        }

    def skip(self, steps: int) -> None:
        """So many are done, and what they left is in the modules and optimisers."""
        self._average.updates = steps

    def advance(self, step: int) -> Mapping[str, float]:
        """Take that step, from 0; returns its losses, in nats a picture."""
        share = step / self._steps
        (optimiser,) = self.optimisers.values()
        optimiser.param_groups[0]["lr"] = _PEAK_RATE * min(1.0, 20 * share + 0.05, 1.02 - share)
        pictures, labels = self._pictures.draw(_BATCH, self._chance)
        blur, pull = _losses(self._vae, pictures, labels, self._chance)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(blur + PULL * pull)
        nn.utils.clip_grad_norm_(self._vae.parameters(), 100.0)
        optimiser.step()
        self._average.update(self._vae)
        return {"restoring": blur.item(), "pull to the prior": pull.item()}

    def sketch(self) -> Generator:
        """The VAE as it is to be kept: averaged, its batch norms taken anew."""
        learnt: Vae = self._average.module  # type: ignore[assignment]
        own = torch.Generator().manual_seed(0)

        def restore() -> None:
            pictures, labels = self._pictures.draw(_BATCH, own)
            _losses(learnt, pictures, labels, own)

        if self._design.labels:
            learnt.centres.copy_(learnt.means.detach())
        return settle(learnt, restore)


@torch.no_grad()
def locate(vae: Vae, pictures: Pictures) -> None:
    """Have the VAE draw each class from where its pictures lie: their mean and covariance.

    Drawn from the prior, one digit in eight was not read as the one asked for.
    """
    some = pictures.some(_LOCATED)
    parts = [vae.encode(as_tones(pixels)) for pixels in torch.split(pictures.pixels[some], 256)]
    means, spreads = (torch.cat(both) for both in zip(*parts, strict=True))
    for place in range(len(vae.centres)):
        own = pictures.labels[some] == place
        if own.sum() < 2:
            continue  # the prior, for a class of which next to nothing is known
        within = spreads[own].exp().mean(dim=0).diag()
        vae.centres[place] = means[own].mean(dim=0)
        vae.spreads[place] = torch.linalg.cholesky(means[own].T.cov() + within)


def _losses(
    vae: Vae, pictures: Tensor, labels: Tensor, chance: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cross entropy of the restored pictures, and distance of the latents from the prior."""
    mean, spread = vae.encode(pictures)
    noise = torch.randn(mean.shape, generator=chance)
    tones = vae.decoder(mean + (spread / 2).exp() * noise)
    # tanh(t) is 2 sigmoid(2t) - 1, so that 2t are the logits of the tone as a share of white.
    blur = functional.binary_cross_entropy_with_logits(
        2 * tones, (pictures + 1) / 2, reduction="none"
    )
    centre = one_hot(labels, vae.design) @ vae.means
    pull = (spread.exp() + (mean - centre).square() - 1 - spread) / 2
    return blur.flatten(1).sum(dim=1).mean(), pull.sum(dim=1).mean()
