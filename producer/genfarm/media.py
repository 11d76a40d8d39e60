"""Sounds and moving pictures as people use them: to hear, to see, to save.

Knows no task; it is made of the bytes of a file. Frames of an MP4 need PyAV.
"""

import base64
import io
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from genfarm_shared.errors import MissingExtra
from genfarm_shared.mediatypes import gif_pause_ms

if TYPE_CHECKING:  # Pillow is loaded when a picture is first looked at
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound file. A notebook plays it."""

    #: Samples a second.
    rate: int
    seconds: float
    #: `audio/wav` or `audio/flac`.
    media_type: str
    #: The whole file.
    data: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the file; returns its path."""
        Path(path).write_bytes(self.data)
        return Path(path)

    def _repr_html_(self) -> str:
        return f'<audio controls src="{_inline(self.media_type, self.data)}"></audio>'


@dataclass(frozen=True, slots=True)
class Video:
    """A moving picture. A notebook plays it."""

    #: Frames a second, as its task asked for.
    fps: int
    #: `image/gif` or `video/mp4`.
    media_type: str
    #: The whole file.
    data: bytes = field(repr=False)

    @property
    def frames(self) -> "list[Image]":
        """Its pictures in order. Raises MissingExtra for an MP4 without PyAV."""
        if self.media_type == "image/gif":
            return _gif_frames(self.data, gif_pause_ms(self.fps))
        return _mp4_frames(self.data)

    def save(self, path: str | Path) -> Path:
        """Write the file; returns its path."""
        Path(path).write_bytes(self.data)
        return Path(path)

    def _repr_html_(self) -> str:
        source = _inline(self.media_type, self.data)
        if self.media_type == "image/gif":
            return f'<img src="{source}">'
        return f'<video controls loop src="{source}"></video>'


def open_audio(data: bytes, media_type: str) -> Audio:
    """The sound in a WAV or FLAC file."""
    if media_type == "audio/wav":
        with wave.open(io.BytesIO(data)) as file:
            rate, samples = file.getframerate(), file.getnframes()
    else:
        # FLAC's first block: 20 bits of rate, 3 of channels, 5 of depth, 36 of samples, from
        # byte 18 on (https://xiph.org/flac/format.html).
        packed = int.from_bytes(data[18:26], "big")
        rate, samples = packed >> 44, packed & (2**36 - 1)
    return Audio(rate, samples / rate, media_type, data)


def _inline(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _gif_frames(data: bytes, pause_ms: int) -> "list[Image]":
    """A frame as often as its pause goes into the time that it is shown."""
    from PIL import Image, ImageSequence

    frames: list[Image.Image] = []
    with Image.open(io.BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            times = max(1, round(frame.info.get("duration", 0) / pause_ms))
            frames += [frame.convert("RGB") for _ in range(times)]
    return frames


def _mp4_frames(data: bytes) -> "list[Image]":
    from PIL import Image

    try:
        import av
    except ImportError:
        raise MissingExtra(
            "the frames of an MP4 are read by PyAV: pip install 'genfarm[media]', or submit the "
            "job with format='gif'"
        ) from None
    with av.open(io.BytesIO(data), "r") as container:
        pixels = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [Image.fromarray(one) for one in pixels]
