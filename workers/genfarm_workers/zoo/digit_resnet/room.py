"""The room of the reader of digits, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.digit_resnet.evaluate import measure_digit_resnet as measure
from genfarm_workers.zoo.digit_resnet.evaluate import score_digit_resnet as score
from genfarm_workers.zoo.digit_resnet.train import DEFAULT_STEPS
from genfarm_workers.zoo.digit_resnet.train import train_digit_resnet as train
from genfarm_workers.zoo.digits.words import DATA

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "score", "train"]

PROSE = Prose(
    tag="image-classification",
    library="transformers",
    what="A small ResNet that says which handwritten digit a picture shows, dark on light or "
    "light on dark, in any colours. Its labels are the words of the digit pipeline's prompts: "
    "`zero`, `one`, ... `nine`.",
    use="from transformers import pipeline\n\n"
    'classify = pipeline("image-classification", model=DIRECTORY)\n'
    'classify("seven.png")  # [{"label": "seven", "score": 0.96}, ...]',
    data=DATA + ", with edges of every softness, half of them black on white or the reverse, "
    "half in any two colours, with a little noise.",
    measured="On the 360 held-out digits. The baseline is scikit-learn's logistic regression on "
    "the 8x8 pixels themselves.",
    limits="It always answers with some digit. One digit has to fill the picture. The same 13 "
    "people wrote the training and the held-out digits.",
)
