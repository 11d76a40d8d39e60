"""Spares what lasts the rounds of Python's garbage collector.

A full round over a process that has imported what ours import stops it for 0.1 to 0.3 s, and
the objects of some hundred new messages are enough to bring one on, in the middle of a batch.
"""

import gc


def set_aside() -> None:
    """Keep all that stands now out of later rounds."""
    gc.collect()
    gc.freeze()


def reclaim() -> None:
    """Free all that nobody uses, what was set aside and refers to itself too: a full round."""
    gc.unfreeze()
    set_aside()
