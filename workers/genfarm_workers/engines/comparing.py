"""What a model costs and gives in each precision: size, CPU time, and how far its answers move.

Every engine that can be exported can be compared, by its one device call. A
starter model's room may add figures of its own held-out data with

    score(forward, directory)     figures by name, of a `portable.Forward`

Knows no kind.

    python -m genfarm_workers.engines.comparing KEY [--dtype bfloat16,int8] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch

from genfarm_shared.errors import GenfarmError, ModelUnavailable
from genfarm_shared.settings import Settings
from genfarm_workers import zoo
from genfarm_workers.catalog import ModelEntry, choose, read_catalog
from genfarm_workers.engines.parking import tensor_bytes
from genfarm_workers.engines.portable import ExportParts, Forward, offered_parts
from genfarm_workers.engines.weights import find_weights

EXACT = "float32"
#: Calls of each precision, in turns, after one that does not count.
_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Cost:
    """One precision of one model."""

    dtype: str
    #: Bytes of its weights as they lie in memory.
    bytes: int
    #: Median of the CPU time of a row, in milliseconds, with one thread.
    cpu_ms_per_row: float
    #: Largest absolute difference of its numbers from float32's, for the same input.
    difference: float
    #: Share of places whose largest number is the same as float32's: a class, a next token.
    same_top: float
    #: Figures of the model's own held-out data.
    figures: Mapping[str, float] = field(default_factory=dict)
    #: Why the model cannot be run so; all else is then nought.
    refused: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    dtype: str
    bytes: int
    parts: ExportParts
    outputs: torch.Tensor


def compare_precisions(entry: ModelEntry, dtypes: Sequence[str]) -> list[Cost]:
    """One for float32 and one for each of the others, in that order.

    Raises ModelUnavailable where not even float32 can be run.
    """
    names = [EXACT, *(name for name in dict.fromkeys(dtypes) if name != EXACT)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        exact = _load(entry, EXACT)
        others = [_try_to_load(entry, name) for name in names[1:]]
        arms = [exact, *(arm for arm in others if isinstance(arm, _Arm))]
        seconds = _clock(arms)
        return [
            _cost(entry, arm, exact, seconds[arm.dtype]) if isinstance(arm, _Arm) else arm
            for arm in (exact, *others)
        ]
    finally:
        torch.set_num_threads(threads)


def _load(entry: ModelEntry, dtype: str) -> _Arm:
    parts = offered_parts(entry.model_copy(update={"dtype": dtype}))
    return _Arm(dtype, tensor_bytes([parts.module]), parts, _run(parts))


def _try_to_load(entry: ModelEntry, dtype: str) -> _Arm | Cost:
    try:
        return _load(entry, dtype)
    except ModelUnavailable as error:
        return Cost(dtype, 0, 0.0, 0.0, 0.0, refused=str(error))


@torch.inference_mode()
def _run(parts: ExportParts) -> torch.Tensor:
    found: torch.Tensor = parts.module(*parts.inputs.values())
    return found.float()


def _clock(arms: Sequence[_Arm]) -> dict[str, float]:
    """Median CPU seconds of a call. In turns: a neighbour on this machine then slows all."""
    taken: dict[str, list[float]] = {arm.dtype: [] for arm in arms}
    for _ in range(_ROUNDS):
        for arm in arms:
            started = time.thread_time()
            _run(arm.parts)
            taken[arm.dtype].append(time.thread_time() - started)
    return {dtype: statistics.median(seconds) for dtype, seconds in taken.items()}


def _cost(entry: ModelEntry, arm: _Arm, exact: _Arm, seconds: float) -> Cost:
    rows = len(arm.outputs)
    same = arm.outputs.argmax(dim=-1) == exact.outputs.argmax(dim=-1)
    return Cost(
        dtype=arm.dtype,
        bytes=arm.bytes,
        cpu_ms_per_row=1e3 * seconds / rows,
        difference=float((arm.outputs - exact.outputs).abs().max()),
        same_top=float(same.float().mean()),
        figures=_figures(entry, arm.parts),
    )


@torch.inference_mode()
def _figures(entry: ModelEntry, parts: ExportParts) -> dict[str, float]:
    name = entry.source.removeprefix("zoo:")
    if not entry.source.startswith("zoo:") or name not in zoo.NAMES:
        return {}
    score = getattr(zoo.room(name), "score", None)
    return dict(score(_of_float32(parts), find_weights(entry))) if score is not None else {}


def _of_float32(parts: ExportParts) -> Forward:
    """Its call, with floats brought to its own precision: a room knows of none."""

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        own = parts.inputs.values()
        found: torch.Tensor = parts.module(
            *(given.to(mine.dtype) for given, mine in zip(inputs, own, strict=True))
        )
        return found

    return forward


def _table(costs: Sequence[Cost]) -> str:
    figures = list(costs[0].figures)
    head = ["dtype", "size MB", "CPU ms/row", "difference", "same top", *figures]
    rows = [
        [
            cost.dtype,
            f"{cost.bytes / 1e6:.2f}",
            f"{cost.cpu_ms_per_row:.2f}",
            f"{cost.difference:.2g}",
            f"{cost.same_top:.1%}",
            *(f"{cost.figures[name]:.5g}" for name in figures),
        ]
        for cost in costs
        if not cost.refused
    ]
    table = [[name.replace("_", " ") for name in head], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in table)
    return "\n".join([*lines, *(f"{c.dtype}: {c.refused}" for c in costs if c.refused)])


def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="genfarm models compare")
    parser.add_argument("key")
    parser.add_argument("--dtype", default="bfloat16,int8")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    (entry,) = choose(read_catalog(Settings.load().registry_path), [options.key]).values()
    costs = compare_precisions(entry, options.dtype.replace(",", " ").split())
    said = json.dumps([asdict(cost) for cost in costs]) if options.json else _table(costs)
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    try:
        _main(sys.argv[1:])
    except (GenfarmError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
