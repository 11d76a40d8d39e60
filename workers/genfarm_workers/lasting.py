"""Spares what lasts the rounds of Python's garbage collector.

A full round over a process that has imported what ours import stops it for 0.1 to 0.3 s, and
the objects of some hundred new messages are enough to bring one on, in the middle of a batch.
"""

import gc
import weakref
from collections.abc import Iterable

#: Things that are to go, and whether they have.
Witnesses = list[weakref.ref[object]]


def set_aside() -> None:
    """Keep all that stands now out of later rounds."""
    gc.collect()
    gc.freeze()


def witnesses(going: Iterable[object]) -> Witnesses:
    """What `reclaim` looks at once everybody should have let go of those."""
    return [weakref.ref(one) for one in going]


def reclaim(left: Witnesses) -> None:
    """Free what was set aside and still stands, for it refers to itself; a whole round, but most
    engines go by themselves."""
    if any(one() is not None for one in left):
        gc.unfreeze()
        set_aside()
