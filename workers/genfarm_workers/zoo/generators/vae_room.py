"""The room of the VAE, and what its card says."""

from genfarm_workers.engines.generators import LATENTS
from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.generators.evaluate import measure_generator as measure
from genfarm_workers.zoo.generators.run import illustrate_digits as illustrate
from genfarm_workers.zoo.generators.run import train_generator
from genfarm_workers.zoo.generators.vae import VaeLesson
from genfarm_workers.zoo.generators.words import LEARNT_FROM, LIMITS, MEASURED, use_of
from genfarm_workers.zoo.training import Plan

__all__ = ["DEFAULT_STEPS", "PROSE", "TAKES_DATA", "illustrate", "measure", "train"]

DEFAULT_STEPS = 2_500
TAKES_DATA = True

PROSE = Prose(
    tag="unconditional-image-generation",
    library="pytorch",
    what="A convolutional VAE that draws pictures of 28x28, of the class asked for or of any. "
    "The one that ships draws handwritten digits. It encodes pictures to 16 numbers and "
    "draws from such numbers again. Each class has a prior around a mean of its own, so "
    "that a point of the latent space says its class.",
    use=use_of("vae", LATENTS["vae"]),
    data=LEARNT_FROM,
    measured=MEASURED,
    limits=LIMITS,
)


def train(plan: Plan) -> None:
    train_generator("vae", plan, VaeLesson)
