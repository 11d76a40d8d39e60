"""Pictures drawn in whole batches, for pipelines that cannot be drawn on steps.

One `advance` is the pipeline's own call for rows that agree in all but prompt
and seed, from noise to pixels. Every batch is filled up to one size, so that
a picture's bytes do not depend on its batch mates. Knows rows; no task.
"""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.diffusion import Drawn, Painter, Row, Stage, ask, flags_of
from genfarm_workers.engines.memory import free_memory, is_out_of_memory
from genfarm_workers.engines.registry import Tick, no_tick

logger = logging.getLogger(__name__)


class _AbandonedError(Exception):
    """Every row of the running batch was dropped."""


class WholeEasel:
    """Draws whole batches. One thread calls it; `drop` may come from its tick."""

    def __init__(self, painter: Painter, slots: int, work: Work, tick: Tick = no_tick) -> None:
        self._painter, self._slots, self._work, self._tick = painter, slots, work, tick
        self._waiting: deque[Row] = deque()
        #: Rows of the batch that runs.
        self._drawing: list[Row] = []
        self._done = 0
        #: Size of picture to the rows of its batches, where memory was not enough for `slots`.
        self._lowered: dict[Hashable, int] = {}

    def free(self) -> int:
        return max(0, self._slots - len(self._waiting))

    def begin(self, rows: Sequence[Row]) -> None:
        self._waiting.extend(rows)

    def advance(self) -> list[Drawn]:
        """Draw one batch to its end."""
        if not self._waiting:
            return []
        self._drawing = self._next_rows()
        size, rows = self._most(self._drawing[0]), list(self._drawing)
        try:
            drawn = self._draw(rows, size)
        except _AbandonedError:
            return []
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            drawn = []
        if not drawn:
            self._lower(rows[0], size)
        left, self._drawing = set(self._drawing), []
        return [one for one in drawn if one.row in left]

    def drop(self, task_ids: set[str]) -> None:
        self._waiting = deque(row for row in self._waiting if row.task_id not in task_ids)
        self._drawing = [row for row in self._drawing if row.task_id not in task_ids]

    def stages(self, task_ids: set[str]) -> Mapping[tuple[str, int], Stage]:
        return {
            (row.task_id, row.k): Stage(self._done, row.arguments.get("num_inference_steps", 0))
            for row in self._drawing
            if row.task_id in task_ids
        }

    def _next_rows(self) -> list[Row]:
        """The oldest row and those that one call can draw beside it."""
        first = self._waiting[0]
        most = self._most(first)
        alike = [row for row in self._waiting if _form(row) == _form(first)][:most]
        taken = set(alike)
        self._waiting = deque(row for row in self._waiting if row not in taken)
        return alike

    def _most(self, row: Row) -> int:
        return self._lowered.get(_size(row), self._slots)

    @torch.inference_mode()
    def _draw(self, rows: Sequence[Row], size: int) -> list[Drawn]:
        filler = Row("", 0, "", "", 0)
        batch = [*rows, *[filler] * (size - len(rows))]
        asked = ask(batch)
        self._done = 0
        if self._painter.takes("callback_on_step_end"):
            asked["callback_on_step_end"] = _callback(lambda: self._between(size))
        elif self._painter.takes("callback"):
            # The older way, which some pipelines of clips still have.
            asked["callback"] = lambda *_: self._between(size)
        drawn = self._painter.with_scheduler(rows[0].scheduler)(**asked)
        pictures = self._painter.shown(drawn, len(rows))
        flags = flags_of(drawn, size)
        return [
            Drawn(row, None if flag else picture)
            for row, picture, flag in zip(rows, pictures, flags, strict=False)
        ]

    def _between(self, size: int) -> None:
        self._done += 1
        self._work.add(computed=size, useful=len(self._drawing))
        self._tick()
        if not self._drawing:
            # Raised, because a pipeline's own interrupt still decodes the whole batch.
            raise _AbandonedError

    def _lower(self, row: Row, size: int) -> None:
        """The padding would run out of memory again, so this size's batches get smaller."""
        self._lowered[_size(row)] = size // 2
        self._work.shortages += 1
        self._waiting.extendleft(reversed(self._drawing))
        free_memory()
        logger.warning(
            "%s: out of memory, batches of %s rows from now on; their bytes may differ from "
            "those of a worker with the memory for slots = %s",
            self._painter.entry.key,
            size // 2,
            self._slots,
        )


def _form(row: Row) -> Hashable:
    """Some pipelines treat no negative prompt and an empty one differently."""
    return (row.scheduler, tuple(row.arguments.items()), bool(row.negative_prompt))


def _size(row: Row) -> Hashable:
    """What decides on the memory that a row takes."""
    return tuple(row.arguments.get(name) for name in ("width", "height", "num_frames"))


def _callback(between: Callable[[], None]) -> Callable[..., Any]:
    def call(pipeline: Any, index: int, timestep: Any, state: Any) -> Any:
        between()
        return state

    return call
