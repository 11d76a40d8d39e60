"""Files that outputs become: they open again with what went in, and equal ones are equal."""

import io
import math
import struct
import wave
from typing import Literal

import pytest
from PIL import Image

from genfarm.media import Audio, Video, open_audio
from genfarm_workers.encoding import encode, missing
from genfarm_workers.engines import Clip, Sound

RATE = 16_000
TONE = struct.pack("<1600h", *(round(20_000 * math.sin(i / 9)) for i in range(1600)))
#: Four frames that go from black to bright red.
FRAMES = b"".join(bytes((60 * k, 0, 0)) * 16 * 8 for k in range(4))


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_sound_is_heard_as_it_was_made(form: str) -> None:
    data, media_type = encode(Sound(RATE, 1, TONE, form))
    assert media_type == f"audio/{form}"
    audio = open_audio(data, media_type)
    assert (audio.rate, audio.seconds) == (RATE, 0.1)
    assert encode(Sound(RATE, 1, TONE, form))[0] == data


def test_a_wav_holds_the_samples(tmp_path: object) -> None:
    data, _ = encode(Sound(RATE, 2, TONE))
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnchannels() == 2
        assert file.readframes(file.getnframes()) == TONE


@pytest.mark.parametrize(("form", "media_type"), [("gif", "image/gif"), ("mp4", "video/mp4")])
def test_a_clip_plays_its_frames(form: Literal["gif", "mp4"], media_type: str) -> None:
    clip = Clip(16, 8, 8, FRAMES, form)
    data, found = encode(clip)
    assert found == media_type
    frames = Video(8, found, data).frames
    assert [frame.size for frame in frames] == [(16, 8)] * 4
    reds = [frame.getpixel((8, 4)) for frame in frames]
    assert [abs(red[0] - 60 * k) < 24 for k, red in enumerate(reds) if isinstance(red, tuple)]
    assert encode(clip)[0] == data


@pytest.mark.parametrize("fps", [1, 8, 60])
def test_a_gif_keeps_frames_that_are_equal(fps: int) -> None:
    black, red = bytes(16 * 8 * 3), FRAMES[-16 * 8 * 3 :]
    for pixels in (black * 8, black * 3 + red * 4 + black, black):
        clip = Clip(16, 8, fps, pixels)
        data, media_type = encode(clip)
        frames = Video(fps, media_type, data).frames
        assert b"".join(frame.tobytes() for frame in frames) == pixels
        assert encode(clip)[0] == data


def test_a_gif_has_the_pace_that_was_asked_for() -> None:
    data, _ = encode(Clip(16, 8, 10, FRAMES))
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["duration"] == 100


def test_a_file_that_needs_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing({"format": "mp4"}) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing({"format": "gif"}) is None
    assert "genfarm[media]" in str(missing({"format": "mp4"}))


def test_sounds_and_clips_play_in_a_notebook() -> None:
    assert "<audio" in Audio(RATE, 0.1, "audio/wav", b"x")._repr_html_()
    assert "<img" in Video(8, "image/gif", b"x")._repr_html_()
    assert "<video" in Video(8, "video/mp4", b"x")._repr_html_()
