"""What a drill task must answer: computable by anybody from its text and seed.

`genfarm torture` compares what was recorded with what is said here, so that an
answer that went to the wrong task is found. Knows no engine.
"""

import hashlib

#: Width and height of a drill's picture, pixels.
SIDE = 16


def answer(seed: int, text: str) -> str:
    """The one right output, 64 hexadecimal digits."""
    return hashlib.sha256(_question(seed, text)).hexdigest()


def pixels(seed: int, text: str) -> bytes:
    """The one right picture, row-major RGB, `SIDE * SIDE * 3` bytes."""
    return hashlib.shake_256(_question(seed, text)).digest(SIDE * SIDE * 3)


def _question(seed: int, text: str) -> bytes:
    return f"drill:{seed}:{text}".encode()
