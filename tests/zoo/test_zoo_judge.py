"""The judge: accurate on real digits, indifferent to size, ink and polarity."""

import pytest
from PIL import Image, ImageOps

from genfarm_workers import zoo
from genfarm_workers.zoo.digits.data import HELD_OUT, real_digits
from genfarm_workers.zoo.judge import Judge
from genfarm_workers.zoo.judge_train import as_images, measure_judge


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return as_images(real_digits(held_out=True).ink[:50])


def read(images: list[Image.Image]) -> list[int]:
    return [verdict.digit for verdict in Judge.load().recognise(images)]


def test_the_judge_reads_97_of_100_held_out_digits() -> None:
    metrics = measure_judge(zoo.path("judge"))
    assert metrics.pictures == HELD_OUT
    assert metrics.accuracy >= 0.97


def test_light_strokes_on_dark_paper_read_the_same(images: list[Image.Image]) -> None:
    inverted = [ImageOps.invert(image) for image in images]
    assert read(inverted) == read(images)


def test_a_picture_of_four_times_the_size_reads_the_same(images: list[Image.Image]) -> None:
    large = [image.resize((128, 128), Image.Resampling.NEAREST) for image in images]
    assert read(large) == read(images)


def test_no_pictures_give_no_verdicts() -> None:
    assert Judge.load().recognise([]) == []


def test_held_out_digits_are_not_among_the_training_digits() -> None:
    training, held_out = real_digits(held_out=False), real_digits(held_out=True)
    assert len(training.labels) + len(held_out.labels) == 1797
    seen = {ink.numpy().tobytes() for ink in training.ink}
    assert not any(ink.numpy().tobytes() in seen for ink in held_out.ink)
