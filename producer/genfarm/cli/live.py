"""`genfarm run --stream`: one input, shown while it is made.

A text goes to stdout as it comes, and is the command's data; for anything else
a bar on stderr counts its steps.
"""

import sys
from typing import TYPE_CHECKING

from genfarm.cli.words import write

if TYPE_CHECKING:
    from genfarm.item import Item


def show(item: "Item", kind: str, timeout: float | None) -> bool:
    """Follow it to its end; returns whether its first text has been written.

    Raises ItemTimeout, and otherwise not: how the task ended is for the caller to tell.
    """
    from genfarm_shared.errors import ItemCancelled, ItemExpired, ItemFailed

    try:
        if kind == "text-generation":
            return _speak(item, timeout)
        _count(item, timeout)
    except (ItemFailed, ItemCancelled, ItemExpired):
        pass  # the job's summary says so, with what to do next
    return False


def _speak(item: "Item", timeout: float | None) -> bool:
    has_spoken = False
    try:
        for piece in item.stream(timeout):
            write(piece, end="")
            has_spoken = True
    finally:
        if has_spoken:
            write("")
    return has_spoken


def _count(item: "Item", timeout: float | None) -> None:
    from genfarm.progress import Bar

    with Bar(item.custom_id, None, unit="step", show=sys.stderr.isatty()) as bar:
        for progress in item.watch(timeout):
            bar.move_to(progress.done, total=progress.total)
