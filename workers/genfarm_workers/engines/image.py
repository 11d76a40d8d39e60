"""The image engine: text-to-image tasks, a whole batch from noise to pixels per step.

Every batch has the same number of rows, filled up with empty ones, so that a
picture's bytes do not depend on its batch mates. Knows tasks and rows; what
a pipeline is stands in `diffusion.py`, and encoding happens elsewhere.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output, Picture
from genfarm_workers.engines.diffusion import Painter, Row
from genfarm_workers.engines.memory import free_memory, is_out_of_memory
from genfarm_workers.engines.noise import derive_seed
from genfarm_workers.engines.registry import Tick, no_tick

logger = logging.getLogger(__name__)


class _AbandonedError(Exception):
    """Every task of the running batch was dropped."""


@dataclass(frozen=True, slots=True)
class _Task:
    claim: Claim
    #: By k; a picture that the safety checker held back is None.
    pictures: dict[int, Picture | None] = field(default_factory=dict)


class ImageEngine:
    """Holds tasks of one batch key at a time."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        self._entry = entry
        self._device = device
        self._tick = tick
        self._tasks: dict[str, _Task] = {}
        self._rows: deque[Row] = deque()
        self._refused: list[Output] = []
        #: Batch key to the rows of its batches, where memory was not enough for `slots`.
        self._batch_rows: dict[str, int] = {}

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._painter = Painter(self._entry, self._device)

    def resize(self, rows: int) -> None:
        self.slots = rows
        self._batch_rows.clear()

    def modules(self) -> list[Any]:
        return self._painter.modules()

    def free_rows(self, batch_key: str) -> int:
        if any(task.claim.batch_key != batch_key for task in self._tasks.values()):
            return 0
        return max(0, self._batch_size(batch_key) - len(self._rows))

    def admit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            fault = self._painter.refusal(claim.params)
            if fault is not None:
                failure = Failure("invalid_params", fault)
                self._refused.append(Output(claim.task_id, failure=failure))
                continue
            self._tasks[claim.task_id] = _Task(claim)
            self._rows.extend(_rows_of(claim))

    def step(self, now: float) -> list[Output]:
        """Draw one batch to its end; return the tasks whose last picture was in it."""
        outputs, self._refused = self._refused, []
        if self._rows:
            claim = self._tasks[self._rows[0].task_id].claim
            self._draw(self._next_rows(self._batch_size(claim.batch_key)), claim)
            outputs += self._complete()
        return outputs

    def wakes_at(self, now: float) -> float | None:
        return now if self._rows or self._refused else None

    def drop(self, task_ids: Sequence[str]) -> None:
        """May be called from the tick within `step`."""
        gone = set(task_ids)
        for task_id in gone:
            self._tasks.pop(task_id, None)
        self._rows = deque(row for row in self._rows if row.task_id not in gone)
        self._refused = [output for output in self._refused if output.task_id not in gone]

    def _batch_size(self, batch_key: str) -> int:
        return self._batch_rows.get(batch_key, self.slots)

    def _next_rows(self, limit: int) -> list[Row]:
        """The oldest rows that agree on having a negative prompt.

        Some pipelines treat no negative prompt and an empty one differently,
        so mixing them would make a picture depend on its batch mates.
        """
        has_negative = bool(self._rows[0].negative_prompt)
        alike = [row for row in self._rows if bool(row.negative_prompt) == has_negative][:limit]
        taken = set(alike)
        self._rows = deque(row for row in self._rows if row not in taken)
        return alike

    def _draw(self, rows: Sequence[Row], claim: Claim) -> None:
        """Put the rows' pictures with their tasks, or the rows back if memory was too small."""
        size = self._batch_size(claim.batch_key)
        arguments = self._painter.arguments(claim.params)
        try:
            pictures = self._painter.draw(rows, size, arguments, lambda: self._between(rows))
        except _AbandonedError:
            return
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            pictures = []
        if not pictures:
            self._shrink(claim.batch_key, rows)
        for row, picture in zip(rows, pictures, strict=False):
            if row.task_id in self._tasks:
                self._tasks[row.task_id].pictures[row.k] = picture

    def _between(self, rows: Sequence[Row]) -> None:
        self._tick()
        if not any(row.task_id in self._tasks for row in rows):
            # Raised, because a pipeline's own interrupt still decodes the whole batch.
            raise _AbandonedError

    def _shrink(self, batch_key: str, rows: Sequence[Row]) -> None:
        """The padding would run out of memory again, so this key's batches get smaller."""
        size = self._batch_rows[batch_key] = self._batch_size(batch_key) // 2
        self._rows.extendleft(reversed([row for row in rows if row.task_id in self._tasks]))
        free_memory()
        logger.warning(
            "%s: out of memory, batches of %s rows from now on; their bytes may differ from "
            "those of a worker with the memory for slots = %s",
            batch_key,
            size,
            self.slots,
        )

    def _complete(self) -> list[Output]:
        """Take out the tasks that have all their pictures."""
        complete = [
            task for task in self._tasks.values() if len(task.pictures) == task.claim.params["n"]
        ]
        for task in complete:
            del self._tasks[task.claim.task_id]
        return [self._output(task) for task in complete]

    def _output(self, task: _Task) -> Output:
        claim = task.claim
        pictures = [task.pictures[k] for k in range(len(task.pictures))]
        shown = [picture for picture in pictures if picture is not None]
        if len(shown) < len(pictures):
            message = (
                f"the model's safety checker held back {len(pictures) - len(shown)} of "
                f"{len(pictures)} pictures. Change the prompt or the seed"
            )
            return Output(claim.task_id, failure=Failure("content_filtered", message))
        arguments = self._painter.arguments(claim.params)
        output = {
            "pictures": len(shown),
            "size": [shown[0].width, shown[0].height],
            "steps": self._painter.used(arguments, "num_inference_steps"),
            "guidance_scale": self._painter.used(arguments, "guidance_scale"),
            "seeds": [row.seed for row in _rows_of(claim)],
        }
        return Output(claim.task_id, output=output, pictures=shown)


def _rows_of(claim: Claim) -> list[Row]:
    params = claim.params
    return [
        Row(
            claim.task_id,
            k,
            params["prompt"],
            params["negative_prompt"],
            derive_seed(claim.seed, k),
        )
        for k in range(params["n"])
    ]
