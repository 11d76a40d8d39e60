"""The demo's live view: how many of its pictures and texts have ended.

A bar on a terminal, a line every few seconds elsewhere; both on stderr.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genfarm_shared.store import Store

#: Seconds between two looks at the store.
LOOK_EVERY = 0.1
#: Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """What is watched: jobs of equal size."""

    store: Store
    #: Pictures first, then texts.
    job_ids: Sequence[str]
    #: Tasks in each.
    items: int

    def ended(self) -> list[int]:
        """Tasks of each job that have ended."""
        counts = self.store.count(self.job_ids)
        return [
            sum(number for state, number in counts[job_id].items() if state.is_terminal)
            for job_id in self.job_ids
        ]


def watch(watcher: Watcher, patience: float) -> Iterator[float]:
    """The part that has ended, at every look, until all has or `patience` seconds are over."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = ("{task.description:8}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + patience
    next_line = time.monotonic() + LINE_EVERY
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        names = [bars.add_task(name, total=watcher.items) for name in ("images", "texts")]
        while time.monotonic() < deadline:
            ended = watcher.ended()
            for name, number in zip(names, ended, strict=True):
                bars.update(name, completed=number)
            part = sum(ended) / (watcher.items * len(ended))
            if not console.is_terminal and (time.monotonic() > next_line or part == 1.0):
                next_line = time.monotonic() + LINE_EVERY
                line = "making   {} of {} images, {} of {} texts\n"
                sys.stderr.write(line.format(ended[0], watcher.items, ended[1], watcher.items))
            yield part
            if part == 1.0:
                return
            time.sleep(LOOK_EVERY)
