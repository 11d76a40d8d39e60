"""Draws clips from prompts and looks at what moves in them; it trains nothing.

The judge reads every frame, cut out around its ink, because it learnt on digits that
fill the picture. The motion is read from where the ink lies and how large it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from genfarm_workers.zoo.digits.prompts import WORDS
from genfarm_workers.zoo.judge import Judge
from genfarm_workers.zoo.video.motions import FRAMES, MOTIONS

#: What the card recommends.
STEPS, GUIDANCE = 15, 3.0

#: Grey below which a pixel counts as ink, whatever its colour.
_INK = 190
_BATCH = 10


@dataclass(frozen=True, slots=True)
class VideoMetrics:
    """How often a clip shows the digit and the motion that were asked for."""

    #: Clips drawn, every digit in every motion, from seeds 0, 1, 2, ...
    clips: int
    #: Share of all their frames in which the judge sees the digit asked for, 0 to 1.
    frames_recognised: float
    #: Share of the clips in which most frames show it.
    clips_recognised: float
    #: Share of the clips with the motion asked for.
    motions_recognised: float
    #: The same for each motion.
    per_motion: dict[str, float]
    #: Share of real clips of held-out digits whose motion is read right: what can be had.
    real_motions_recognised: float


def measure_video(directory: Path) -> VideoMetrics:
    asked = [(digit, motion.words) for digit in range(10) for motion in MOTIONS]
    clips = draw(directory, [f"a handwritten {WORDS[digit]} {words}" for digit, words in asked])
    read = [[v.digit for v in Judge.load().recognise([_cut(f) for f in clip])] for clip in clips]
    right = [
        sum(one == digit for one in seen) for seen, (digit, _) in zip(read, asked, strict=True)
    ]
    seen = [motion_of(clip) == words for clip, (_, words) in zip(clips, asked, strict=True)]
    per_motion = {
        motion.words: sum(seen[place :: len(MOTIONS)]) / 10 for place, motion in enumerate(MOTIONS)
    }
    return VideoMetrics(
        clips=len(clips),
        frames_recognised=sum(right) / (len(clips) * FRAMES),
        clips_recognised=sum(count > FRAMES / 2 for count in right) / len(clips),
        motions_recognised=sum(seen) / len(clips),
        per_motion=per_motion,
        real_motions_recognised=_real_motions(),
    )


def draw(directory: Path, prompts: Sequence[str]) -> list[list[Image.Image]]:
    """A clip of each prompt; its seed is its place among them."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(directory, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    clips: list[list[Image.Image]] = []
    for start in range(0, len(prompts), _BATCH):
        some = list(prompts[start : start + _BATCH])
        clips += pipeline(
            some,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(start + k) for k in range(len(some))],
        ).frames
    return clips


def motion_of(clip: Sequence[Image.Image]) -> str:
    """The words of the motion that changes most between the first frames and the last."""
    boxes = [_box(frame) for frame in clip]
    middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in boxes]
    across = middles[-1][0] - middles[0][0]
    down = middles[-1][1] - middles[0][1]
    # A digit that grows gets higher by some 12 pixels, one that slides moves by some 10.
    grown = (boxes[-1][3] - boxes[-1][1]) - (boxes[0][3] - boxes[0][1])
    changes = (-across, across, -down, down, grown, -grown)
    return MOTIONS[changes.index(max(changes))].words


def _real_motions() -> float:
    from genfarm_workers.zoo.digits.data import paint, real_digits
    from genfarm_workers.zoo.video.motions import set_moving

    ink = real_digits(held_out=True).ink[:60]
    motions = [MOTIONS[place % len(MOTIONS)] for place in range(len(ink))]
    clips = set_moving(ink, motions, torch.Generator().manual_seed(0))
    frames = paint(clips.flatten(0, 1), torch.zeros(1, 3).expand(len(ink) * FRAMES, 3))
    pixels = ((frames + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    pictures = [Image.fromarray(array) for array in pixels.numpy()]
    read = [motion_of(pictures[k * FRAMES : (k + 1) * FRAMES]) for k in range(len(ink))]
    return sum(a == b.words for a, b in zip(read, motions, strict=True)) / len(ink)


def _box(frame: Image.Image) -> tuple[int, int, int, int]:
    """Around the ink, or the whole frame where there is none."""
    dark: Any = frame.convert("L").point(lambda tone: 255 if tone < _INK else 0)
    return dark.getbbox() or (0, 0, *frame.size)


def _cut(frame: Image.Image) -> Image.Image:
    """A square around the ink, with a little paper at its sides."""
    left, top, right, bottom = _box(frame)
    half = round(max(right - left, bottom - top) * 0.54)
    across = (left + right + frame.width) // 2
    down = (top + bottom + frame.height) // 2
    paper = Image.new("RGB", (frame.width * 2, frame.height * 2), "white")
    paper.paste(frame, (frame.width // 2, frame.height // 2))
    return paper.crop((across - half, down - half, across + half, down + half))
