"""The reader of digits: accurate on real digits that it never saw, whatever they look like."""

import pytest
import torch

from genfarm_workers import zoo
from genfarm_workers.zoo.digit_resnet.evaluate import as_pictures, classify
from genfarm_workers.zoo.digit_resnet.train import colour
from genfarm_workers.zoo.digits.data import enlarge, real_digits

FOLDER = zoo.path("digit-resnet")


@pytest.mark.parametrize("look", ["black on white", "white on black", "coloured"])
def test_95_of_100_held_out_digits_are_read(look: str) -> None:
    digits = real_digits(held_out=True)
    ink = enlarge(digits.ink[:100])
    pictures = (1 - ink)[:, None].expand(-1, 3, -1, -1)
    if look == "white on black":
        pictures = 1 - pictures
    elif look == "coloured":
        pictures = colour(ink, torch.Generator().manual_seed(1))
    read = torch.tensor(classify(FOLDER, as_pictures(pictures)))
    assert int((read == digits.labels[:100]).sum()) >= 95


def test_any_colours_leave_the_strokes_in_sight() -> None:
    paper, stroke = torch.zeros(200, 1, 1), torch.ones(200, 1, 1)
    generators = (torch.Generator().manual_seed(2) for _ in range(2))
    papers, strokes = (colour(ink, g) for ink, g in zip((paper, stroke), generators, strict=True))
    apart = (papers - strokes).mean(dim=(1, 2, 3)).abs()
    assert apart.min() > 0.25
    assert (papers.mean(dim=(1, 2, 3)) > 0.5).float().mean() == pytest.approx(0.5, abs=0.15)
