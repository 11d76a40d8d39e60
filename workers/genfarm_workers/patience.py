"""Waits out a store that is down, or goes on without it; the log says once why."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from genfarm_shared.errors import Unreachable

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between two tries.
PAUSE = 0.5


def insist(work: Callable[[], T], *, meanwhile: str = "waiting") -> T:
    """Do it; `work` is called again after every Unreachable. `meanwhile` is for the log."""
    failing = False
    while True:
        try:
            return work()
        except Unreachable as error:
            if not failing:
                log.warning("%s: %s", meanwhile, error)
            failing = True
            time.sleep(PAUSE)


def softly(aim: str, work: Callable[[], object]) -> None:
    """Do it once; a worker that ends goes on without it, and others make up for it."""
    try:
        work()
    except Unreachable as error:
        log.warning("this worker ends and cannot %s: %s", aim, error)
