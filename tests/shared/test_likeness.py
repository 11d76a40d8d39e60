"""Likeness finds copies and leaves others apart; the index misses none; labels are named."""

import io
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from genfarm_shared.likeness import Seen, likeness, marks_of_picture, marks_of_text
from genfarm_shared.naming import names_label


def drawing(shift: int = 0, edge: int = 64) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((10 + shift, 12, 40 + shift, 50), outline="black", width=6)
    return image.resize((edge, edge))


def as_jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return Image.open(stream)


def test_a_copy_in_another_format_and_size_is_alike_and_another_drawing_is_not() -> None:
    first = marks_of_picture(drawing())
    assert likeness(first, marks_of_picture(as_jpeg(drawing()))) > 0.9
    assert likeness(first, marks_of_picture(drawing(edge=256))) > 0.8
    assert likeness(first, marks_of_picture(drawing(shift=12))) < 0.5


def test_a_text_is_alike_whatever_its_case_and_punctuation() -> None:
    first = marks_of_text("Once upon a time, there was a fox.")
    assert likeness(first, marks_of_text("once upon a TIME there was a fox")) == 1.0
    assert 0 < likeness(first, marks_of_text("Once upon a time there was a hen.")) < 1
    assert likeness(first, marks_of_text("The fox was there at one time")) == 0.0
    assert likeness(marks_of_text(""), marks_of_text("...")) == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.frozensets(st.integers(0, 12), max_size=12), max_size=20),
    st.frozensets(st.integers(0, 12), max_size=12),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
)
def test_the_index_finds_what_a_look_at_everything_finds(
    known: list[frozenset[int]], asked: frozenset[int], at_least: float
) -> None:
    seen = Seen[int](at_least)
    for place, marks in enumerate(known):
        seen.add(place, marks)
    best = max((likeness(asked, marks) for marks in known), default=0.0)
    found = seen.find(asked)
    if best < at_least:
        assert found is None
    else:
        assert found is not None
        assert found[1] == best == likeness(asked, known[found[0]])


def test_among_equals_the_earliest_is_found() -> None:
    seen = Seen[str](0.5)
    for name in ("b", "a", "c"):
        seen.add(name, frozenset(random.Random(1).sample(range(99), 9)))
    assert seen.find(frozenset(random.Random(1).sample(range(99), 9))) == ("b", 1.0)


def test_a_text_names_a_label_by_word_figure_or_one_of_its_names() -> None:
    assert names_label("a handwritten Seven", "7")
    assert names_label("the digit 7.", "seven")
    assert names_label("a tabby cat asleep", "tabby, tabby cat")
    assert not names_label("a handwritten seventeen", "7")
    assert not names_label("17 drawings", "7")
    assert not names_label("a cat", "")
