"""What both sides hold of media types. Opens no file."""

#: Milliseconds: players slow down what is faster than 50 frames a second.
_SHORTEST_PAUSE = 20


def gif_pause_ms(fps: int) -> int:
    """How long a GIF shows a frame; it counts in hundredths of a second."""
    return max(_SHORTEST_PAUSE, round(100 / fps) * 10)
