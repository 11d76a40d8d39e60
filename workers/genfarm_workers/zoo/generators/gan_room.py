"""The room of the GAN, and what its card says."""

from genfarm_workers.engines.generators import LATENTS
from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.generators.evaluate import measure_generator as measure
from genfarm_workers.zoo.generators.gan import GanLesson
from genfarm_workers.zoo.generators.run import train_generator
from genfarm_workers.zoo.generators.words import LEARNT_FROM, LIMITS, MEASURED, use_of
from genfarm_workers.zoo.training import Plan

__all__ = ["DEFAULT_STEPS", "PROSE", "TAKES_DATA", "measure", "train"]

DEFAULT_STEPS = 4_000
TAKES_DATA = True

PROSE = Prose(
    tag="unconditional-image-generation",
    library="pytorch",
    what="A GAN of fully connected layers that draws pictures of 28x28, of the class asked for "
    "or of any. The one that ships draws handwritten digits. It learns against a critic "
    "that sees noisy pictures.",
    use=use_of("gan", LATENTS["gan"]),
    data=LEARNT_FROM,
    measured=MEASURED,
    limits=LIMITS,
)


def train(plan: Plan) -> None:
    train_generator("gan", plan, GanLesson)
