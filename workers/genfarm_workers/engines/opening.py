"""A picture that comes in with a task: bytes of anybody's to RGB, or what is wrong with them.

Opens what cameras, browsers and this farm write. Turns a picture the way its EXIF data says, and
puts what is clear in it on white paper; of a moving picture it is the first frame. Knows no model.
"""

import io
import warnings

from PIL import Image, ImageOps

from genfarm_shared.tasks import Claim, Failure

#: Pillow knows some fifty formats, one of which runs a program (EPS, Ghostscript). These will do.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
#: Most pixels of a picture: 200 MB of RGBA. A file of some kilobytes can hold a thousandfold.
MOST_PIXELS = 50_000_000
#: Longest edge, in pixels. What makes a picture square would take the square of it.
MOST_EDGE = 20_000


class Unseeable(Exception):
    """Not a picture, or too large; the message says which, and what to do, for people."""


def open_picture(claim: Claim, param: str) -> Image.Image | Failure:
    """The picture that came in that parameter as RGB, or why there is none."""
    content = claim.files.get(param)
    if content is None:
        return _failure(param, "the file did not come with the task; submit the task again")
    try:
        return open_bytes(content)
    except Unseeable as error:
        return _failure(param, str(error))


def open_bytes(content: bytes) -> Image.Image:
    """A picture as RGB, upright, on white. Raises Unseeable."""
    try:
        # It warns of odd EXIF data, and of many pixels, which are counted here anyway.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=_FORMATS) as opened,
        ):
            width, height = opened.size
            if width * height > MOST_PIXELS or max(width, height) > MOST_EDGE:
                raise Unseeable(
                    f"{width}x{height} pixels, expected at most {MOST_PIXELS:,} together and "
                    f"{MOST_EDGE:,} on an edge. Make it smaller and submit again"
                )
            return _to_rgb(opened)
    # Broad, because what its decoders raise on damaged bytes is not documented.
    except Exception as error:
        if isinstance(error, MemoryError | Unseeable):
            raise
        what = f"{len(content):,} bytes that are no whole picture ({type(error).__name__})"
        known = ", ".join(_FORMATS)
        raise Unseeable(f"{what}, expected one of {known}. Correct the file") from error


def _to_rgb(opened: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16"):
        # Pillow cuts at 255 what it should scale.
        picture = picture.convert("I").point(lambda tone: tone / 257).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    paper = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(paper, clear).convert("RGB")


def _failure(param: str, what: str) -> Failure:
    return Failure("invalid_params", f"{param}: {what}")
