"""Digits in motion: the motions, their words, and the clips they make of real digits.

A motion is a path of the digit's middle and a path of its size. Knows no model.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.zoo.digits.data import SIZE, enlarge
from genfarm_workers.zoo.digits.prompts import compose

#: Frames of a clip.
FRAMES = 8

#: Size of a digit that slides, as a share of the picture's height, and how far it gets from
#: the middle, in halves of the picture: the two together just fit.
_SCALE, _REACH = 0.7, 0.3
#: Sizes between which a digit grows and shrinks.
_SMALL, _LARGE = 0.6, 0.98
#: Radians that a digit leans and a share that its size and place differ, from clip to clip.
_TURN, _VARIETY = 0.15, 0.06
#: Share of captions that leave the motion out.
_UNSAID = 0.05


@dataclass(frozen=True, slots=True)
class Motion:
    """What a digit does from the first frame to the last."""

    #: As a caption says it.
    words: str
    #: From where to where its middle goes, right and down, in halves of the picture.
    start: tuple[float, float] = (0.0, 0.0)
    end: tuple[float, float] = (0.0, 0.0)
    #: Its size in the first frame and in the last.
    sizes: tuple[float, float] = (_SCALE, _SCALE)


MOTIONS = (
    Motion("moving left", (_REACH, 0.0), (-_REACH, 0.0)),
    Motion("moving right", (-_REACH, 0.0), (_REACH, 0.0)),
    Motion("moving up", (0.0, _REACH), (0.0, -_REACH)),
    Motion("moving down", (0.0, -_REACH), (0.0, _REACH)),
    Motion("growing", sizes=(_SMALL, _LARGE)),
    Motion("shrinking", sizes=(_LARGE, _SMALL)),
)

#: Words that the captions of the digits do not have.
NEW_WORDS = sorted({word for motion in MOTIONS for word in motion.words.split()})


def caption_clip(digit: int, ink: str, motion: Motion, chance: random.Random) -> str:
    """A caption; without any word as often as those of the digits."""
    plain = compose(digit, ink, chance)
    return f"{plain} {motion.words}" if plain and chance.random() >= _UNSAID else plain


def set_moving(ink: Tensor, motions: list[Motion], generator: torch.Generator) -> Tensor:
    """Ink of digits (N, 8, 8) to clips (N, 8, 32, 32), a motion for each."""
    count = len(ink)
    turn = (torch.rand(count, 1, generator=generator) * 2 - 1) * _TURN
    wobble = (torch.rand(count, 3, generator=generator) * 2 - 1) * _VARIETY
    ends = torch.tensor([[*motion.start, *motion.end, *motion.sizes] for motion in motions])
    along = torch.linspace(0, 1, FRAMES)
    across = torch.lerp(ends[:, :1], ends[:, 2:3], along) + wobble[:, :1]
    down = torch.lerp(ends[:, 1:2], ends[:, 3:4], along) + wobble[:, 1:2]
    size = torch.lerp(ends[:, 4:5], ends[:, 5:], along) * (1 + wobble[:, 2:])
    # The grid asks for each place of the frame where in the still picture it lies.
    cosine, sine = turn.cos() / size, turn.sin() / size
    rows = [
        torch.stack([cosine, sine, -cosine * across - sine * down], dim=-1),
        torch.stack([-sine, cosine, sine * across - cosine * down], dim=-1),
    ]
    theta = torch.stack(rows, dim=-2).flatten(0, 1)
    stills = enlarge(ink).repeat_interleave(FRAMES, dim=0)[:, None]
    grid = functional.affine_grid(theta, [len(theta), 1, SIZE, SIZE], align_corners=False)
    moved = functional.grid_sample(stills, grid, align_corners=False)
    return moved.view(count, FRAMES, SIZE, SIZE)
