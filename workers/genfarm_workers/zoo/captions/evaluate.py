"""Has the captioner describe digits that it never saw, real ones and drawn ones; trains nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from genfarm_workers import zoo
from genfarm_workers.zoo.captions.words import INK_NAMES, digit_named, ink_named
from genfarm_workers.zoo.digits.data import INKS, enlarge, paint, real_digits
from genfarm_workers.zoo.digits.evaluate import draw_prompts
from genfarm_workers.zoo.digits.prompts import WORDS

_BATCH = 60
#: Drawn pictures of each digit in each ink.
_TAKES = 5
_ASKED = "a handwritten {word} in {ink} ink"


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture and what is to be seen in it."""

    picture: Image.Image
    digit: int
    ink: str


@dataclass(frozen=True, slots=True)
class CaptionsMetrics:
    """How often a caption names what is to be seen."""

    #: Real pictures held out of every training.
    held_out: int
    #: Share of them whose caption names the digit, 0 to 1, and that of their inks.
    held_out_digits_named: float
    held_out_inks_named: float
    #: Pictures that the digit pipeline drew.
    drawn: int
    #: As above; the digit and the ink are those of the prompt.
    drawn_digits_named: float
    drawn_inks_named: float
    #: The best that one caption for every held-out picture can do.
    constant_digits_named: float
    constant_inks_named: float
    #: The first held-out picture of each digit.
    captions: list[str]


def measure_captions(directory: Path, takes: int = _TAKES) -> CaptionsMetrics:
    """Captions of the held-out digits, and of ``takes`` drawings of each digit in each ink."""
    asked = [(digit, ink) for _ in range(takes) for digit in range(10) for ink in INKS]
    held_out, drawn = held_out_pictures(), drawn_pictures(asked)
    captions = describe_pictures(directory, [shown.picture for shown in held_out])
    said_of_drawn = describe_pictures(directory, [shown.picture for shown in drawn])
    digits = [shown.digit for shown in held_out]
    return CaptionsMetrics(
        len(held_out),
        *named_shares(held_out, captions),
        len(drawn),
        *named_shares(drawn, said_of_drawn),
        _most(digits),
        _most([shown.ink for shown in held_out]),
        [captions[digits.index(digit)] for digit in range(10)],
    )


def held_out_pictures() -> list[Shown]:
    """The held-out digits, painted in the inks in turn."""
    digits = real_digits(held_out=True)
    inks = [INK_NAMES[place % len(INK_NAMES)] for place in range(len(digits.labels))]
    pictures = _painted(digits.ink, inks)
    shown = zip(pictures, digits.labels.tolist(), inks, strict=True)
    return [Shown(picture, digit, ink) for picture, digit, ink in shown]


def drawn_pictures(asked: Sequence[tuple[int, str]]) -> list[Shown]:
    """What the digit pipeline draws when asked for those digits in those inks."""
    prompts = [_ASKED.format(word=WORDS[digit], ink=ink) for digit, ink in asked]
    pictures = draw_prompts(zoo.path("digits"), prompts)
    pairs = zip(pictures, asked, strict=True)
    return [Shown(picture, digit, ink) for picture, (digit, ink) in pairs]


@torch.inference_mode()
def describe_pictures(directory: Path, pictures: Sequence[Image.Image]) -> list[str]:
    """The likeliest caption of each picture."""
    from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

    model: Any = VisionEncoderDecoderModel.from_pretrained(directory).eval()
    processor = AutoImageProcessor.from_pretrained(directory, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    captions: list[str] = []
    for start in range(0, len(pictures), _BATCH):
        pixels = processor(list(pictures[start : start + _BATCH]), return_tensors="pt").pixel_values
        captions += tokenizer.batch_decode(model.generate(pixels), skip_special_tokens=True)
    return captions


def named_shares(shown: Sequence[Shown], captions: Sequence[str]) -> tuple[float, float]:
    """The shares of digits and of inks that the captions name."""
    pairs = list(zip(shown, captions, strict=True))
    digits = sum(digit_named(caption) == one.digit for one, caption in pairs)
    inks = sum(ink_named(caption) == one.ink for one, caption in pairs)
    return digits / len(pairs), inks / len(pairs)


def _painted(ink: Tensor, inks: Sequence[str]) -> list[Image.Image]:
    """Real digits (N, 8, 8) as pictures; white ink is on black paper."""
    colours = torch.tensor([INKS.get(name, INKS["black"]) for name in inks])
    pixels = ((paint(enlarge(ink), colours) + 1) * 127.5).round().to(torch.uint8)
    pictures = [Image.fromarray(array) for array in pixels.permute(0, 2, 3, 1).numpy()]
    pairs = zip(pictures, inks, strict=True)
    return [ImageOps.invert(one) if ink == "white" else one for one, ink in pairs]


def _most(values: Sequence[Any]) -> float:
    """The share of the commonest value."""
    return Counter(values).most_common(1)[0][1] / len(values)
