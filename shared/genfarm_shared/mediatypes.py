"""What a media type stands for: a still picture, a clip, a sound, a text. Opens no file."""

from typing import Literal

Sort = Literal["picture", "clip", "sound", "text", "other"]

#: By what a media type begins with, but for GIF: the farm's GIFs are clips.
_SORTS: dict[str, Sort] = {"image": "picture", "video": "clip", "audio": "sound", "text": "text"}
#: Milliseconds: players slow down what is faster than 50 frames a second.
_SHORTEST_PAUSE = 20


def sort_of(media_type: str) -> Sort:
    """What a file of that media type is to people."""
    if media_type == "image/gif":
        return "clip"
    return _SORTS.get(media_type.partition("/")[0], "other")


def gif_pause_ms(fps: int) -> int:
    """How long a GIF shows a frame; it counts in hundredths of a second."""
    return max(_SHORTEST_PAUSE, round(100 / fps) * 10)
