"""From pixels and samples to the bytes of a file; equal ones give equal bytes.

Runs in the worker process, on the recorder's threads. Knows no task.
"""

import importlib.util
import io
import wave
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy
from PIL import Image

from genfarm_shared.mediatypes import gif_pause_ms
from genfarm_workers.engines import Clip, Media, Picture, Sound

#: PNG effort: level 1 costs half the CPU of level 6 and some 15 % more bytes.
PNG_LEVEL = 1
#: Quality of MP4: 18 is taken for visually lossless, 23 is the encoder's own.
MP4_CRF = "18"
#: Bytes of a sample.
_SAMPLE = 2
_BY_PYAV = ("flac", "mp4")
#: Without the time and the library's version in the file.
_BITEXACT = {"fflags": "+bitexact"}


@singledispatch
def encode(media: Media) -> tuple[bytes, str]:
    """The file and its media type."""
    raise TypeError(f"{type(media).__name__} is no medium. This is a bug.")


@encode.register
def _(picture: Picture) -> tuple[bytes, str]:
    return encode_png(picture), "image/png"


@encode.register
def _(sound: Sound) -> tuple[bytes, str]:
    if sound.format == "flac":
        return _flac(sound), "audio/flac"
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(_SAMPLE)
        file.setframerate(sound.rate)
        file.writeframes(sound.samples)
    return buffer.getvalue(), "audio/wav"


@encode.register
def _(clip: Clip) -> tuple[bytes, str]:
    if clip.format == "mp4":
        return _mp4(clip), "video/mp4"
    frames = _frames(clip)
    buffer = io.BytesIO()
    # Pillow writes equal neighbours as one frame that is shown for longer: `Video` counts that.
    pause_ms = gif_pause_ms(clip.fps)
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


def missing(params: Mapping[str, Any]) -> str | None:
    """What to install before the files those parameters ask for can be written."""
    wanted = params.get("format")
    if wanted not in _BY_PYAV or importlib.util.find_spec("av") is not None:
        return None
    return f"format={wanted} is written by PyAV: pip install 'genfarm[media]' on the workers"


def _frames(clip: Clip) -> list[Image.Image]:
    size, frame = (clip.width, clip.height), clip.width * clip.height * 3
    starts = range(0, len(clip.rgb), frame)
    return [Image.frombytes("RGB", size, clip.rgb[start : start + frame]) for start in starts]


def _flac(sound: Sound) -> bytes:
    import av

    layout = {1: "mono", 2: "stereo"}[sound.channels]
    samples = numpy.frombuffer(sound.samples, "<i2")[None]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac", options=_BITEXACT) as container:
        stream = container.add_stream("flac", rate=sound.rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = sound.rate
        container.mux([*stream.encode(frame), *stream.encode()])
    return buffer.getvalue()


def _mp4(clip: Clip) -> bytes:
    import av

    size = (clip.height, clip.width, 3)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=_BITEXACT) as container:
        stream = container.add_stream("libx264", rate=clip.fps, options={"crf": MP4_CRF})
        # What players everywhere take; it wants even sides, and ours are multiples of 8.
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = clip.width, clip.height
        # Threads would make the bytes depend on the machine, and so would the encoder's name.
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for pixels in numpy.frombuffer(clip.rgb, numpy.uint8).reshape(-1, *size):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
