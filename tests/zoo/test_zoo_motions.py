"""Digits set in motion, and that what looks at motions sees which they are."""

import random

import torch
from PIL import Image

from genfarm_workers.zoo.digits.data import real_digits
from genfarm_workers.zoo.video.evaluate import motion_of
from genfarm_workers.zoo.video.motions import FRAMES, MOTIONS, NEW_WORDS, caption_clip, set_moving


def test_the_motion_of_a_real_clip_is_read_as_what_it_is() -> None:
    ink = real_digits(held_out=True).ink[: 2 * len(MOTIONS)]
    clips = set_moving(ink, [*MOTIONS, *MOTIONS], torch.Generator().manual_seed(0))
    assert clips.shape == (2 * len(MOTIONS), FRAMES, 32, 32)
    pixels = ((1 - clips) * 255).to(torch.uint8).numpy()
    seen = [motion_of([Image.fromarray(frame) for frame in clip]) for clip in pixels]
    assert seen == [motion.words for motion in (*MOTIONS, *MOTIONS)]


def test_a_caption_says_the_motion_unless_it_says_nothing_of_it() -> None:
    chance = random.Random(1)
    captions = [caption_clip(7, "black", MOTIONS[0], chance) for _ in range(200)]
    said = [caption for caption in captions if caption.endswith(" moving left")]
    # Of 200, some 20 are empty and some 9 leave the motion out.
    assert 140 < len(said) < 195
    assert {"moving", "left"} <= set(NEW_WORDS)
