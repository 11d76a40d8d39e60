"""Draws digits from prompts and lets the judge say what they show; it trains nothing."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from genfarm_workers.zoo.digits.prompts import WORDS
from genfarm_workers.zoo.judge import Judge

#: What the card recommends; fewer steps lose strokes, more change nothing the judge sees.
STEPS, GUIDANCE = 15, 3.0

_PER_DIGIT = 50
_BATCH = 50
_ASKED = ("a handwritten {word}", "a handwritten {figure}", "the digit {word}")


@dataclass(frozen=True, slots=True)
class DigitsMetrics:
    """How often a drawn digit is recognised as the one asked for."""

    #: Pictures drawn, from seeds 0, 1, 2, ...
    pictures: int
    #: Share recognised, 0 to 1.
    recognised: float
    #: The same for each digit.
    per_digit: dict[str, float]
    #: Denoising steps of each picture.
    steps: int
    #: Guidance scale of each picture.
    guidance: float


def measure_digits(directory: Path, per_digit: int = _PER_DIGIT) -> DigitsMetrics:
    """Draw ``per_digit`` pictures of each digit and have them judged."""
    digits = [digit for digit in range(10) for _ in range(per_digit)]
    verdicts = Judge.load().recognise(draw(directory, digits))
    pairs = list(zip(digits, verdicts, strict=True))
    shares = {
        str(digit): sum(v.digit == digit for asked, v in pairs if asked == digit) / per_digit
        for digit in range(10)
    }
    return DigitsMetrics(len(digits), sum(shares.values()) / 10, shares, STEPS, GUIDANCE)


def recognise_saved(metadata: Path) -> dict[str, Any]:
    """How many pictures of a saved job show the digit that their prompt names.

    `metadata` is a JSONL file with `file_name` and `prompt`. Prompts that name
    no digit, or more than one, are left out.
    """
    rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
    asked = [(digit, row) for row in rows if (digit := _asked_for(row["prompt"])) is not None]
    images = [Image.open(metadata.parent / row["file_name"]) for _, row in asked]
    pairs = zip(asked, Judge.load().recognise(images), strict=True)
    wrong = [row["file_name"] for (digit, row), verdict in pairs if verdict.digit != digit]
    share = 1 - len(wrong) / len(asked) if asked else None
    return {"pictures": len(asked), "recognised": share, "wrong": wrong}


def _asked_for(prompt: str) -> int | None:
    words = re.findall(r"[a-z]+|\d+", prompt.lower())
    digits = [WORDS.index(word) for word in words if word in WORDS]
    digits += [int(word) for word in words if word.isdecimal() and len(word) == 1]
    return digits[0] if len(digits) == 1 else None


def draw(directory: Path, digits: Sequence[int]) -> list[Image.Image]:
    """Draw each digit asked for; the seed of a picture is its place in ``digits``."""
    return draw_prompts(directory, [_ask(digit, seed) for seed, digit in enumerate(digits)])


def draw_prompts(directory: Path, prompts: Sequence[str]) -> list[Image.Image]:
    """Draw each prompt; the seed of a picture is its place in ``prompts``."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    for start in range(0, len(prompts), _BATCH):
        seeds = range(start, min(start + _BATCH, len(prompts)))
        images += pipeline(
            list(prompts[start : seeds.stop]),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
    return images


def _ask(digit: int, seed: int) -> str:
    return _ASKED[seed % len(_ASKED)].format(word=WORDS[digit], figure=digit)
