"""From pixels and samples to the bytes of a file; equal ones give equal bytes.

Runs in the worker process, on the recorder's threads. Knows no task.
"""

import io
import wave
from functools import singledispatch

from PIL import Image

from genfarm_workers.engines import Clip, Media, Picture, Sound

#: PNG effort: level 1 costs half the CPU of level 6 and some 15 % more bytes.
PNG_LEVEL = 1
#: Bytes of a sample.
_SAMPLE = 2


@singledispatch
def encode(media: Media) -> tuple[bytes, str]:
    """The file and its media type."""
    raise TypeError(f"{type(media).__name__} is no medium. This is a bug.")


@encode.register
def _(picture: Picture) -> tuple[bytes, str]:
    return encode_png(picture), "image/png"


@encode.register
def _(sound: Sound) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(_SAMPLE)
        file.setframerate(sound.rate)
        file.writeframes(sound.samples)
    return buffer.getvalue(), "audio/wav"


@encode.register
def _(clip: Clip) -> tuple[bytes, str]:
    size, frame = (clip.width, clip.height), clip.width * clip.height * 3
    starts = range(0, len(clip.rgb), frame)
    frames = [Image.frombytes("RGB", size, clip.rgb[start : start + frame]) for start in starts]
    buffer = io.BytesIO()
    pause_ms = round(1000 / clip.fps)
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=pause_ms, loop=0
    )
    return buffer.getvalue(), "image/gif"


def encode_png(picture: Picture) -> bytes:
    """The picture as PNG."""
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
