"""Watching a task while it runs: its text as it grows, its steps, its picture so far.

What comes on the way is a courtesy, and the recorded result is the truth: where
nothing can be heard, because Redis is away or the engine tells nothing, these
wait for the result and give it whole. Knows no job.
"""

import io
import time
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from genfarm.link import Link
from genfarm.result import Result
from genfarm_shared.errors import GenfarmError, ItemTimeout, Unreachable
from genfarm_shared.live import Ear, Sight

if TYPE_CHECKING:  # Pillow is loaded when a picture is first looked at
    from PIL.Image import Image

#: Seconds between two looks whether the task has ended.
LISTEN = 0.1
#: Seconds to leave a broker alone that does not answer.
OUTAGE = 1.0
#: Pixels of a preview's longer side; a worker sends 256.
SIDE_MOST = 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is."""

    #: Tokens, steps, or what else its engine counts.
    done: int
    #: How many it takes at most; `done` in the last.
    total: int
    #: The text so far, the whole text in the last.
    text: str = ""
    #: The picture so far, small; the finished picture in the last.
    preview: "Image | None" = None


class Watchable(Protocol):
    """A task that ends, as a future."""

    id: str
    custom_id: str

    def done(self) -> bool: ...

    def result(self, timeout: float | None = None) -> Result: ...


def pieces(item: Watchable, link: Link, timeout: float | None) -> Iterator[str]:
    """What is new of the text, again and again; together they are the text of the result."""
    given = ""
    for sight in _sights(item, link, timeout):
        # An attempt that took the place of a dead one says again what was said, and no more.
        if len(sight.text) > len(given) and sight.text.startswith(given):
            yield sight.text[len(given) :]
            given = sight.text
    text = item.result().text or ""
    if not text.startswith(given):
        raise GenfarmError(
            f"task {item.custom_id} ({item.id}) came out otherwise than what was streamed of it: "
            "it began anew on a device of another type or version. Take result().text"
        )
    if len(text) > len(given):
        yield text[len(given) :]


def looks(item: Watchable, link: Link, timeout: float | None) -> Iterator[Progress]:
    """How far it is, again and again; the last is the result."""
    total = 1
    for sight in _sights(item, link, timeout):
        total = max(sight.total, 1)
        yield Progress(min(sight.done, total), total, sight.text, _picture(sight.preview))
    result = item.result()
    yield Progress(total, total, result.text or "", result.image)


def _sights(item: Watchable, link: Link, timeout: float | None) -> Iterator[Sight]:
    """What is heard of a task until it has ended; never of an attempt before the last heard."""
    give_up = None if timeout is None else time.monotonic() + timeout
    attempt = 0
    listener = Listener(item, link)
    try:
        while not item.done():
            left = LISTEN if give_up is None else min(give_up - time.monotonic(), LISTEN)
            if left <= 0:
                raise ItemTimeout(
                    f"task {item.custom_id} ({item.id}) has not ended after {timeout:g} s of "
                    "watching; it goes on: watch it again, or wait for its result()",
                    code="timeout",
                    custom_id=item.custom_id,
                )
            sight = listener.hear(left)
            if sight is not None and sight.attempt >= attempt:
                attempt = sight.attempt
                yield sight
    finally:
        listener.close()


class Listener:
    """Hears of a task as far as the broker lets it, and waits where it does not."""

    def __init__(self, item: Any, link: Link) -> None:
        self._item = item
        self._link = link
        self._ear: Ear | None = None
        self._deaf_until = 0.0

    def hear(self, seconds: float) -> Sight | None:
        """None when there was nothing to hear; not much later than `seconds`."""
        if time.monotonic() >= self._deaf_until:
            try:
                self._ear = self._ear or self._link.live.listen(self._item.id)
                return self._ear.hear(seconds)
            except Unreachable:  # the result does not come this way
                self.close()
                self._deaf_until = time.monotonic() + OUTAGE
        wait([self._item], seconds)
        return None

    def close(self) -> None:
        if self._ear is not None:
            self._ear.close()
            self._ear = None


def _picture(preview: bytes) -> "Image | None":
    if not preview:
        return None
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(preview), formats=["JPEG"])
        if max(image.size) > SIDE_MOST:
            return None
        image.load()
    # As Pillow calls what is no picture, and what says that it is of billions of pixels.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return image
