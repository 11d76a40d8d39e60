"""Waiting for an event: the only way in which a test lets time pass."""

import time
from collections.abc import Callable

#: Seconds that a test waits for an event before it fails. Never a measure of speed.
PATIENCE = 30.0


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return when the condition holds; fail when it has not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.01)
