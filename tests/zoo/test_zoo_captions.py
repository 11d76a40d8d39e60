"""The captioner: names held-out and drawn digits, in words of its own, by stock loaders."""

import random
from typing import Any

import pytest

from genfarm_workers import zoo
from genfarm_workers.zoo.captions.evaluate import (
    Shown,
    describe_pictures,
    drawn_pictures,
    held_out_pictures,
    named_shares,
)
from genfarm_workers.zoo.captions.words import (
    INK_NAMES,
    build_tokenizer,
    describe,
    digit_named,
    ink_named,
)


@pytest.fixture(scope="module")
def held_out() -> list[Shown]:
    return held_out_pictures()[:100]


def test_nine_in_ten_of_100_held_out_digits_are_named_and_their_inks(held_out: list[Shown]) -> None:
    captions = describe_pictures(zoo.path("captions"), [shown.picture for shown in held_out])
    digits, inks = named_shares(held_out, captions)
    assert digits >= 0.9
    assert inks >= 0.95
    assert captions[0].startswith("a handwritten ")


def test_drawn_digits_are_named_as_they_were_asked_for() -> None:
    drawn = drawn_pictures([(1, "red"), (3, "black"), (5, "blue"), (7, "green")])
    captions = describe_pictures(zoo.path("captions"), [shown.picture for shown in drawn])
    # 200 of 200 were named when the model was made: one in four is a margin of its own.
    assert named_shares(drawn, captions)[0] >= 0.75


def test_a_large_picture_is_described_like_the_small_one(held_out: list[Shown]) -> None:
    small = [shown.picture for shown in held_out[:20]]
    large = [picture.resize((256, 256)) for picture in small]
    said, said_of_large = (describe_pictures(zoo.path("captions"), one) for one in (small, large))
    assert sum(one == other for one, other in zip(said, said_of_large, strict=True)) >= 19


def test_every_caption_survives_the_tokenizer_and_says_what_it_was_made_of() -> None:
    tokenizer: Any = build_tokenizer()
    for seed in range(20):
        digit, ink = seed % 10, INK_NAMES[seed % len(INK_NAMES)]
        caption = describe(digit, ink, random.Random(seed))
        assert tokenizer.decode(tokenizer(caption).input_ids) == caption
        assert (digit_named(caption), ink_named(caption)) == (digit, ink)


def test_a_caption_that_names_two_digits_or_none_names_no_digit() -> None:
    assert digit_named("a one or a seven in red ink") is None
    assert digit_named("a cat") is None
