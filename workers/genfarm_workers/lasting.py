"""Spares what lasts the rounds of Python's garbage collector.

A full round over a process that has imported what ours import stops it for a tenth of a second,
and the objects of some hundred new messages are enough to bring one on, in the middle of a batch.
"""

import gc


def set_aside() -> None:
    """Keep all that stands now out of later rounds. `gc.unfreeze` takes it back in."""
    gc.collect()
    gc.freeze()
