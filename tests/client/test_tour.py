"""The page of a tour is made of what its jobs brought."""

from pathlib import Path

from PIL import Image

from genfarm.media import Audio
from genfarm.tour import STOPS, Seen, Stop
from genfarm.tour_page import draw_wave, write_page
from genfarm_shared.kinds import KINDS
from genfarm_shared.tasks import State


def test_every_kind_of_the_field_has_a_stop() -> None:
    demos = {"sleep", "batch-floats", "drill"}
    assert {stop.kind for stop in STOPS} == set(KINDS) - demos


def test_a_model_that_nobody_serves_is_in_the_table(tmp_path: Path) -> None:
    stop = Stop("GPT", "text-generation", "none", lambda number, _: "x")
    half = Seen(stop, "a model", {State.SUCCEEDED: 3, State.FAILED: 1}, 2.0)
    half.states = {State.FAILED: 4}
    page = write_page([Seen(stop), half], tmp_path).read_text()
    assert "| GPT | `text-generation` | `none` |  | not served |  |  |" in page
    assert "| a model | 0 of 4 | 2.0 |  |" in page


def test_a_sound_is_drawn_as_loud_as_it_is() -> None:
    samples = b"\x00\x00" * 3200 + b"\xff\x7f" * 3200
    image = draw_wave(Audio(16_000, 0.4, "audio/wav", bytes(44) + samples))
    assert isinstance(image, Image.Image)
    ink = [sum(image.getpixel((x, y)) == (0, 0, 0) for y in range(64)) for x in (40, 200)]
    assert ink == [1, 63]
