"""The floats engine: lists of floats through one small torch module.

Shows a batched kind in the fewest lines: all values of all tasks in one
stream, cut into chunks of one fixed shape, so that a task's numbers are
bit-equal alone or in company. Knows no model files: its weights come from a
fixed seed.
"""

from collections.abc import Sequence

import torch

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.registry import Tick, no_tick

#: Values per device call. Large enough to hide the call, small enough to waste little
#: on one short task; not tuned.
CHUNK = 1024
WEIGHTS_SEED = 20_240_229
WIDTH = 32


class FloatsEngine:
    """Each step runs every task it holds."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        self._device = device
        self._tasks: dict[str, Claim] = {}
        #: A row-step is one value.
        self.work = Work()

    def load(self) -> None:
        """Draw the weights on the CPU, so that every device type gets the same."""
        generator = torch.Generator().manual_seed(WEIGHTS_SEED)
        shapes = ((1, WIDTH), (WIDTH,), (WIDTH, 1))
        self._weights = [
            torch.randn(shape, generator=generator).to(self._device) for shape in shapes
        ]

    def resize(self, rows: int) -> None:
        self.slots = rows

    def free_rows(self, batch_key: str) -> int:
        return self.slots - len(self._tasks)

    def admit(self, claims: Sequence[Claim]) -> None:
        self._tasks.update((claim.task_id, claim) for claim in claims)

    def step(self, now: float) -> list[Output]:
        claims = list(self._tasks.values())
        outputs = self._run([value for claim in claims for value in claim.params["values"]])
        done, start = [], 0
        for claim in claims:
            end = start + len(claim.params["values"])
            done.append(Output(claim.task_id, output={"values": outputs[start:end]}))
            start = end
        self._tasks.clear()
        return done

    def wakes_at(self, now: float) -> float | None:
        return now if self._tasks else None

    def drop(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._tasks.pop(task_id, None)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """Nothing: a task ends in the step that begins it."""
        return []

    @torch.inference_mode()
    def _run(self, values: Sequence[float]) -> list[float]:
        """One output per value, in order."""
        chunks = -(-len(values) // CHUNK)
        self.work.add(computed=chunks * CHUNK, useful=len(values))
        padded = torch.zeros(chunks * CHUNK, dtype=torch.float32)
        padded[: len(values)] = torch.tensor(values, dtype=torch.float32)
        parts = [self._forward(part) for part in padded.to(self._device).view(chunks, CHUNK, 1)]
        outputs: list[float] = torch.cat(parts)[: len(values), 0].tolist() if parts else []
        return outputs

    def _forward(self, values: torch.Tensor) -> torch.Tensor:
        """(CHUNK, 1) to (CHUNK, 1)."""
        inward, bias, outward = self._weights
        return torch.tanh(values @ inward + bias) @ outward
