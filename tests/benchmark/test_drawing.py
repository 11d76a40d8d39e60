"""Pictures of reports: the same shapes as SVG and as PNG."""

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from genfarm.benchmark.chart import OURS, draw_report
from genfarm.benchmark.words import number
from genfarm.drawing import PNG_SCALE, ticks
from genfarm_shared.measure import Measured, Part, Report

REPORT = Report(
    "x",
    "fast?",
    (
        Part("one", "tasks/s", (Measured("slow", (1.0, 3.0, 2.0)), Measured("genfarm", (8.0,)))),
        Part("none", "tasks/s", ()),
    ),
    {"cores": 2},
)


def test_our_bar_is_as_long_as_its_median_and_has_our_colour(tmp_path: Path) -> None:
    draw_report(REPORT).save(tmp_path / "x.svg")
    root = ElementTree.parse(tmp_path / "x.svg").getroot()  # noqa: S314  # our own file
    bars = [e for e in root if e.tag.endswith("rect")]
    slow, ours = bars
    assert float(ours.attrib["width"]) / float(slow.attrib["width"]) == pytest.approx(4, abs=0.01)
    assert (ours.attrib["fill"], slow.attrib["fill"] != OURS) == (OURS, True)


def test_a_png_shows_the_same_on_a_transparent_ground(tmp_path: Path) -> None:
    drawing = draw_report(REPORT)
    drawing.save(tmp_path / "x.png")
    image = Image.open(io.BytesIO((tmp_path / "x.png").read_bytes()))
    assert image.size == (drawing.width * PNG_SCALE, drawing.height * PNG_SCALE)
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    colours = {colour for _, colour in image.getcolors(1 << 20) or ()}
    assert (0x00, 0x72, 0xB2, 255) in colours


@pytest.mark.parametrize(("most", "number"), [(0.0, 5), (0.007, 6), (3.0, 5), (99_999.0, 6)])
def test_an_axis_has_a_few_round_steps(most: float, number: int) -> None:
    found = ticks(most, number)
    assert len(found) <= number
    assert all(0 < tick <= most for tick in found)
    assert bool(found) == (most > 0)


@pytest.mark.parametrize(
    ("value", "said"), [(0.0123, "0.0123"), (4.561, "4.56"), (78.94, "78.9"), (12_345.6, "12,346")]
)
def test_a_number_is_said_with_three_digits_or_more(value: float, said: str) -> None:
    assert number(value) == said
