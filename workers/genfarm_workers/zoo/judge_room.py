"""The room of the judge, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.digits.words import DATA
from genfarm_workers.zoo.judge_train import DEFAULT_STEPS
from genfarm_workers.zoo.judge_train import measure_judge as measure
from genfarm_workers.zoo.judge_train import train_judge as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="image-classification",
    library="pytorch",
    what="A small convolutional network that says which handwritten digit a picture shows. "
    "It measures what the digit pipeline draws, and shares no weights with it.",
    use="from genfarm_workers.zoo.judge import Judge\n\n"
    "Judge.load().recognise([image])  # [Verdict(digit=7, confidence=0.93)]",
    data=DATA + ", with noise and edges of every softness.",
    measured="On the held-out digits, painted black on white at 32x32.",
    limits="It always answers with some digit. One digit has to fill the picture. The same 13 "
    "people wrote the training and the held-out digits.",
)
