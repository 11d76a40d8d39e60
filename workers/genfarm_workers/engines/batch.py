"""What engines share that run a batch from beginning to end: a GAN, a classifier, a captioner.

A task is cut into rows (its `n`); a step takes as many rows as the model has
slots, of one batch key, and a task ends with its last row. Subclasses fill a
short batch up to one size, because a row's bytes may depend on the size of its
batch, though never on its mates. Where memory is not enough for that size, it
is halved. Knows no model.
"""

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.memory import free_memory, is_out_of_memory
from genfarm_workers.engines.noise import derive_seed
from genfarm_workers.engines.registry import Tick, no_tick

logger = logging.getLogger(__name__)

#: What one row becomes.
Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a task."""

    claim: Claim
    #: Its place among the task's rows, from 0.
    k: int

    @property
    def seed(self) -> int:
        """Differs from row to row of a task; that of row 0 is the task's own."""
        return derive_seed(self.claim.seed, self.k)


class BatchEngine(ABC, Generic[Piece]):
    """Each step runs one batch. Subclasses say how to load, to check, to run and to finish."""

    #: Whether `run` computes `padded` rows however many it is given.
    fills_up = True
    #: Whether `run` adds to `work` itself, because it makes several device calls.
    counts_calls = False

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.entry = entry
        self.slots = entry.slots
        #: Rows that `run` fills a batch up to: `slots`, or fewer where memory is short.
        self.padded = entry.slots
        #: The same for each form of batch for which memory was not enough.
        self._lowered: dict[Hashable, int] = {}
        self.work = Work()
        self.device = device
        #: For subclasses whose `run` takes longer than a second, too: a sign of life between two
        #: device calls. Tasks may be dropped within it, see `is_wanted`.
        self.tick = tick
        self._claims: dict[str, Claim] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self._rows: deque[Row] = deque()
        self._failed: list[Output] = []

    @abstractmethod
    def load(self) -> None:
        """Load weights and warm up. Raises ModelUnavailable, saying what is missing."""

    def refusal(self, claim: Claim) -> Failure | None:
        """Why this model cannot run those parameters; None when it can."""
        return None

    @abstractmethod
    def run(self, rows: Sequence[Row]) -> Sequence[Piece]:
        """A piece for each of at most `padded` rows of one batch key, in their order.

        May be called again with some of the same rows, when memory runs out.
        """

    @abstractmethod
    def finish(self, claim: Claim, pieces: Sequence[Piece]) -> Output:
        """The task's output from the pieces of its rows, in their order."""

    def take(self, waiting: deque[Row]) -> list[Row]:
        """Remove at most `slots` of the waiting rows, those of the next batch."""
        return [waiting.popleft() for _ in range(min(self.slots, len(waiting)))]

    def form_of(self, row: Row) -> Hashable:
        """What batches have in common that need the same memory."""
        return row.claim.batch_key

    def is_wanted(self, row: Row) -> bool:
        """Whether the row's task is still to be run."""
        return self._claims.get(row.claim.task_id) is row.claim

    def resize(self, rows: int) -> None:
        self.slots = self.padded = rows
        self._lowered.clear()

    def free_rows(self, batch_key: str) -> int:
        alike = all(claim.batch_key == batch_key for claim in self._claims.values())
        return max(0, self.slots - len(self._rows)) if alike else 0

    def admit(self, claims: Sequence[Claim]) -> None:
        # All at once, so that a drop that comes from a tick finds every one.
        self._claims.update((claim.task_id, claim) for claim in claims)
        for place, claim in enumerate(claims):
            # To check a task may mean to decode its picture: a good part of a second.
            if place:
                self.tick()
            if self._claims.get(claim.task_id) is not claim:
                continue
            refused = self.refusal(claim)
            if refused is not None:
                self._failed.append(Output(claim.task_id, failure=refused))
            else:
                self._pieces[claim.task_id] = []
                self._rows.extend(Row(claim, k) for k in range(claim.rows))

    def step(self, now: float) -> list[Output]:
        done, self._failed = self._failed, []
        rows = self.take(self._rows)
        if rows:
            for row, piece in self._worked(rows):
                if self.is_wanted(row):
                    self._pieces[row.claim.task_id].append(piece)
                    done += self._ended(row.claim)
        for output in done:
            self._claims.pop(output.task_id, None)
        return done

    def wakes_at(self, now: float) -> float | None:
        return now if self._claims else None

    def drop(self, task_ids: Sequence[str]) -> None:
        gone = set(task_ids)
        for task_id in gone:
            self._claims.pop(task_id, None)
            self._pieces.pop(task_id, None)
        self._rows = deque(row for row in self._rows if row.claim.task_id not in gone)
        self._failed = [output for output in self._failed if output.task_id not in gone]

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """Rows that are done, of tasks with several."""
        held: Mapping[str, list[Piece]] = self._pieces
        return [
            Glimpse(task_id, len(held[task_id]), self._claims[task_id].rows)
            for task_id in task_ids
            if task_id in held and task_id in self._claims
        ]

    def _worked(self, rows: Sequence[Row]) -> list[tuple[Row, Piece]]:
        """The rows with their pieces, in one batch or, short of memory, in several."""
        form, left = self.form_of(rows[0]), list(rows)
        worked: list[tuple[Row, Piece]] = []
        while left:
            self.padded = min(self.slots, self._lowered.get(form, self.slots))
            some = left[: self.padded]
            pieces = self._attempt(form, some)
            if pieces is not None:
                worked += zip(some, pieces, strict=True)
                left = left[len(some) :]
            # A tick may have dropped tasks, and what is known of their rows.
            left = [row for row in left if self.is_wanted(row)]
        return worked

    def _attempt(self, form: Hashable, rows: Sequence[Row]) -> Sequence[Piece] | None:
        """None when memory ran out, and then batches of that form are smaller from now on."""
        try:
            pieces = self.run(rows)
            if not self.counts_calls:
                computed = self.padded if self.fills_up else len(rows)
                self.work.add(computed=computed, useful=len(rows))
            return pieces
        except (RuntimeError, MemoryError) as error:
            if self.padded == 1 or not self.fills_up or not is_out_of_memory(error):
                raise
        # Outside the except block: its traceback would keep the tensors alive.
        self._lowered[form] = self.padded // 2
        self.work.shortages += 1
        free_memory()
        logger.warning(
            "out of memory: model %s takes %s rows at a time from now on; their bytes may differ "
            "from those of a worker with the memory for slots = %s",
            self.entry.key,
            self._lowered[form],
            self.slots,
        )
        return None

    def _ended(self, claim: Claim) -> list[Output]:
        pieces = self._pieces[claim.task_id]
        if len(pieces) < claim.rows:
            return []
        del self._pieces[claim.task_id]
        return [self.finish(claim, pieces)]
