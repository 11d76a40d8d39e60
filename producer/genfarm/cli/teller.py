"""Words on stderr about a long run: a line written over in a terminal, else now and then one."""

import sys
import time
from collections.abc import Callable

from genfarm.cli.words import say

#: Characters of a line that is written over.
WIDTH = 100


def teller(seconds: float) -> Callable[[str], None]:
    """What takes the words; empty ones clear the line.

    Where nobody watches in a terminal, a line every `seconds` at most.
    """
    if sys.stderr.isatty():

        def tell(words: str) -> None:
            sys.stderr.write(f"\r\x1b[K{words[:WIDTH]}")
            sys.stderr.flush()

        return tell
    told: list[float] = []

    def tell_seldom(words: str) -> None:
        now = time.monotonic()
        if words and (not told or now - told[-1] >= seconds):
            told[:] = [now]
            say(words)

    return tell_seldom
