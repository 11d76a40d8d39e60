"""The floats engine: lists of floats through one small torch module.

Shows a batched kind in the fewest lines: all values of all tasks in one
stream, cut into chunks of one fixed shape, so that a task's numbers are
bit-equal alone or in company. Its weights come from a fixed seed; the only
file it can run is an export of itself.
"""

from collections.abc import Sequence
from typing import cast

import torch

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.exported import open_exported
from genfarm_workers.engines.portable import ExportParts, Forward
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.transfer import to_device
from genfarm_workers.engines.weights import choose_dtype, find_weights

#: Values per device call. Large enough to hide the call, small enough to waste little
#: on one short task; not tuned.
CHUNK = 1024
WEIGHTS_SEED = 20_240_229
WIDTH = 32


class FloatsEngine:
    """Each step runs every task it holds."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        self._entry = entry
        self._device = device
        self._tasks: dict[str, Claim] = {}
        #: A row-step is one value.
        self.work = Work()

    def load(self) -> None:
        """Raises ModelUnavailable where the registry names an export that cannot be run."""
        # Not bfloat16 on a GPU unless the registry says so: a list's numbers would differ.
        named = self._entry.dtype != "auto"
        self._dtype = choose_dtype(self._entry, self._device) if named else torch.float32
        if self._entry.source:
            folder = find_weights(self._entry)
            self._forward: Forward = open_exported(self._entry, folder, self._device)
        else:
            self._forward = _Network().to(self._device, self._dtype)

    def export_parts(self) -> ExportParts:
        values = torch.linspace(-3, 3, CHUNK, dtype=self._dtype)[:, None]
        return ExportParts(cast("_Network", self._forward), {"values": values}, output="outputs")

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
        padded = torch.zeros(chunks * CHUNK, 1)
        padded[: len(values), 0] = torch.tensor(values, dtype=torch.float32)
        given = to_device(padded.to(self._dtype), self._device).view(chunks, CHUNK, 1)
        parts = [self._forward(part) for part in given]
        outputs: list[float] = torch.cat(parts)[: len(values), 0].tolist() if parts else []
        return outputs


class _Network(torch.nn.Module):
    """(rows, 1) to (rows, 1), each row for itself."""

    def __init__(self) -> None:
        """Draws the weights on the CPU, so that every device type gets the same."""
        super().__init__()
        self.inward: torch.Tensor
        self.bias: torch.Tensor
        self.outward: torch.Tensor
        generator = torch.Generator().manual_seed(WEIGHTS_SEED)
        shapes = {"inward": (1, WIDTH), "bias": (WIDTH,), "outward": (WIDTH, 1)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.randn(shape, generator=generator))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(values @ self.inward + self.bias) @ self.outward
