"""What engines share whose tasks come in shapes: texts of some width, pictures of some size.

A task's input is read when it is admitted, so that one that cannot be read fails alone. A
device call has one shape, that of the oldest task, filled up to the same number of rows:
no task's bytes depend on its mates. Knows no model.
"""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import torch

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.batch import BatchEngine, Piece, Row
from genfarm_workers.engines.registry import Tick, no_tick

logger = logging.getLogger(__name__)

#: What a task becomes before it is run.
Input = TypeVar("Input")

#: Batches that are held beyond the one that runs, so that there are enough tasks of its shape.
#: Of four widths in equal parts, a batch of 32 rows is 40 % full with none, 80 % with one and
#: 99 % with three (simulated).
_LOOK_AHEAD_BATCHES = 3


class ShapedEngine(BatchEngine[Piece], Generic[Input, Piece]):
    """Tasks of one row each. Subclasses say how to read an input, and what to compute of it."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        super().__init__(entry, device, tick)
        self._inputs: dict[str, Input] = {}

    @abstractmethod
    def read(self, claim: Claim) -> Input | Failure:
        """The task's input, or why this model cannot take it."""

    @abstractmethod
    def shape_of(self, entered: Input) -> Hashable:
        """What must be equal within a device call."""

    @abstractmethod
    def compute(self, inputs: Sequence[Input]) -> Sequence[Piece]:
        """A piece for each of the inputs, which are of one shape, in their order."""

    def warm_up(self, example: Input) -> None:
        """Run a full call of one input. Its rows must be alike, or tasks depend on their mates."""
        first, *others = [torch.as_tensor(p) for p in self.compute([example] * self.slots)]
        if any(not torch.equal(first, other) for other in others):
            logger.warning(
                "model %s computes rows of one call differently: the bytes of a task may depend "
                "on its place among %s. Set slots = 1 where that matters",
                self.entry.key,
                self.slots,
            )

    def refusal(self, claim: Claim) -> Failure | None:
        entered = self.read(claim)
        if isinstance(entered, Failure):
            return entered
        self._inputs[claim.task_id] = entered
        return None

    def free_rows(self, batch_key: str) -> int:
        ahead = int(self.entry.limits.get("look_ahead", _LOOK_AHEAD_BATCHES * self.slots))
        alike = all(claim.batch_key == batch_key for claim in self._claims.values())
        return max(0, self.slots + ahead - len(self._rows)) if alike else 0

    def take(self, waiting: deque[Row]) -> list[Row]:
        """Those of the oldest's shape, so that none waits for ever."""
        if not waiting:
            return []
        shape = self.form_of(waiting[0])
        taken = [row for row in waiting if self.form_of(row) == shape][: self.slots]
        for row in taken:
            waiting.remove(row)
        return taken

    def run(self, rows: Sequence[Row]) -> Sequence[Piece]:
        inputs = [self._inputs[row.claim.task_id] for row in rows]
        filled = [*inputs, *inputs[:1] * (self.padded - len(inputs))]
        pieces = self.compute(filled)[: len(inputs)]
        for row in rows:
            del self._inputs[row.claim.task_id]
        return pieces

    def drop(self, task_ids: Sequence[str]) -> None:
        super().drop(task_ids)
        for task_id in task_ids:
            self._inputs.pop(task_id, None)

    def form_of(self, row: Row) -> Hashable:
        return self.shape_of(self._inputs[row.claim.task_id])
