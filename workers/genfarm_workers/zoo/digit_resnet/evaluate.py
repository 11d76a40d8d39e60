"""Measures the reader of digits on real digits that it never saw, in many looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from genfarm_workers.zoo.digit_resnet.train import LABELS, colour
from genfarm_workers.zoo.digits.data import enlarge, real_digits

#: Pixels (B, 3, H, W) to logits (B, 10).
Forward = Callable[[Tensor], Tensor]

_COLOUR_SEED = 3
_BATCH = 60


@dataclass(frozen=True, slots=True)
class DigitResnetMetrics:
    """Shares of real digits that are named right, from 0 to 1."""

    #: Real pictures held out of every training.
    pictures: int
    #: Of the model, black on white.
    accuracy: float
    #: Of a logistic regression on the 8x8 pixels themselves, which knows one look only.
    baseline_accuracy: float
    #: Of the model, white on black.
    accuracy_light_on_dark: float
    #: Of the model, any colour on any other.
    accuracy_in_colours: float
    #: Of the model, on the 8x8 pixels as they are, which is far from how it learnt.
    accuracy_at_8_pixels: float
    #: Of the model, four times as large as it sees.
    accuracy_at_128_pixels: float


def measure_digit_resnet(directory: Path) -> DigitResnetMetrics:
    digits = real_digits(held_out=True)
    true = digits.labels.tolist()
    ink = enlarge(digits.ink)

    def accuracy(pictures: Sequence[Image.Image]) -> float:
        return _share(classify(directory, pictures), true)

    return DigitResnetMetrics(
        pictures=len(true),
        accuracy=accuracy(as_pictures(_black(ink))),
        baseline_accuracy=_share(_baseline(digits.ink), true),
        accuracy_light_on_dark=accuracy(as_pictures(1 - _black(ink))),
        accuracy_in_colours=accuracy(
            as_pictures(colour(ink, torch.Generator().manual_seed(_COLOUR_SEED)))
        ),
        accuracy_at_8_pixels=accuracy(as_pictures(_black(digits.ink))),
        accuracy_at_128_pixels=accuracy(
            [picture.resize((128, 128)) for picture in as_pictures(_black(ink))]
        ),
    )


def score_digit_resnet(forward: Forward, directory: Path) -> dict[str, float]:
    """Accuracy on the held-out digits, of whatever turns pixels into logits."""
    digits = real_digits(held_out=True)
    ink = enlarge(digits.ink)
    looks = {
        "accuracy": _black(ink),
        "accuracy_in_colours": colour(ink, torch.Generator().manual_seed(_COLOUR_SEED)),
    }
    true = digits.labels.tolist()
    return {
        name: _share(_read(forward, directory, as_pictures(colours)), true)
        for name, colours in looks.items()
    }


def classify(directory: Path, pictures: Sequence[Image.Image]) -> list[int]:
    """The digit in each picture, as the stock classes say."""
    from transformers import AutoModelForImageClassification as Auto

    model = Auto.from_pretrained(directory).eval()
    return _read(lambda pixels: model(pixel_values=pixels).logits, directory, pictures)


@torch.inference_mode()
def _read(forward: Forward, directory: Path, pictures: Sequence[Image.Image]) -> list[int]:
    from transformers import AutoConfig, AutoImageProcessor

    labels = AutoConfig.from_pretrained(directory).id2label
    processor = AutoImageProcessor.from_pretrained(directory, backend="pil")
    found: list[int] = []
    for start in range(0, len(pictures), _BATCH):
        batch = processor(list(pictures[start : start + _BATCH]), return_tensors="pt")
        best = forward(batch.pixel_values).argmax(dim=1).tolist()
        found += [LABELS.index(labels[place]) for place in best]
    return found


def as_pictures(colours: Tensor) -> list[Image.Image]:
    """Colours (N, 3, H, W) from 0 to 1 as pictures."""
    pixels = (colours * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(array) for array in pixels.numpy()]


def _black(ink: Tensor) -> Tensor:
    return (1 - ink)[:, None].expand(-1, 3, -1, -1)


def _baseline(ink: Tensor) -> list[int]:
    from sklearn.linear_model import LogisticRegression

    training = real_digits(held_out=False)
    regression = LogisticRegression(max_iter=2_000)
    regression.fit(training.ink.flatten(1).numpy(), training.labels.numpy())
    predict: Callable[..., Tensor] = regression.predict
    return [int(digit) for digit in predict(ink.flatten(1).numpy())]


def _share(said: Sequence[int], true: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(said, true, strict=True)) / len(true)
