"""Pictures on steps, beside the stock pipeline one at a time and in batches of equal parameters.

`python -m genfarm_workers.benchmark.image` counts denoiser calls for requests
that differ in steps, guidance, seed and scheduler, compares every picture with
the stock pipeline's own, and measures pictures per CPU-second with one thread.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave
from genfarm_shared.tasks import Claim
from genfarm_workers.benchmark.sample import sample
from genfarm_workers.benchmark.small_diffusion import make_diffusion
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines.diffusion import Painter, Row, ask
from genfarm_workers.engines.image import ImageEngine
from genfarm_workers.engines.pictures import Landings
from genfarm_workers.engines.stepwise import StepEasel

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_GUIDANCE = (1.0, 2.0, 3.0, 5.0, 7.5, 9.0)
_SCHEDULERS = (None, "ddim", "euler", "euler-a", "dpm++2m", "unipc")
#: What is promised: calls against those of full batches, bytes in bfloat16, error in float32.
MOST_CALLS, _EQUAL, _ERROR = 1.15, 1.0, 1e-5
#: What a model runs in on a CPU unless told otherwise.
_TIMED = "float32"
#: The requests of a round, by its number.
Workload = Callable[[int], list[Claim]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    #: Requests of the counts, and of each arm of the speeds.
    counted: int
    timed: int
    #: Fewest and most steps of a mixed request.
    steps: tuple[int, int]
    widths: tuple[int, int]
    slots: int


class _Floats(Landings[Row]):
    """Keeps a picture's numbers, which its bytes would round."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, Any] = {}

    def send(self, label: Row, image: Any) -> None:
        self.images[label.task_id] = image.clone()
        super().send(label, image)


class _Bench:
    """One model in one precision: our engine, and a pipeline of its own for the stock arms."""

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.engine = ImageEngine(entry)
        self.engine.load()
        self._stock = Painter(entry, "cpu")

    @property
    def easel(self) -> StepEasel:
        easel = self.engine._easel
        if not isinstance(easel, StepEasel):
            raise TypeError(f"{self.entry.key} is not drawn on steps. This is a bug")
        return easel

    def draw(self, claims: Sequence[Claim]) -> None:
        waiting = list(claims)
        while waiting or self.engine.wakes_at(0.0) is not None:
            while waiting and self.engine.free_rows(waiting[0].batch_key) > 0:
                self.engine.admit([waiting.pop(0)])
            self.engine.step(0.0)

    def stock(self, claims: Sequence[Claim], most: int = 1) -> dict[str, Any]:
        """The pipeline's own calls, `most` tasks in each where their parameters agree."""
        images: dict[str, Any] = {}
        for mates in _mates(claims, most):
            rows = [row for claim in mates for row in self.engine._rows_of(claim)]
            drawn = self._stock.with_scheduler(rows[0].scheduler)(**ask(rows))
            images |= {row.task_id: drawn.images[i : i + 1] for i, row in enumerate(rows)}
        return images


def main() -> None:
    """Print the report as one JSON object."""
    import diffusers
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each arm")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    diffusers.logging.set_verbosity_error()
    plan = Plan(asked.rounds, 64, 16, (8, 30), (64, 128), 4)
    if asked.quick:
        plan = Plan(asked.rounds, 6, 4, (2, 4), (32, 32), 2)
    with tempfile.TemporaryDirectory() as folder:
        parts = tuple(_parts(plan, Path(folder)))
    question = "Pictures on steps: how near to full batches, to the stock bytes, and how fast?"
    sys.stdout.write(json.dumps(Report("image", question, parts).to_json()) + "\n")


def _parts(plan: Plan, folder: Path) -> Iterator[Part]:
    digits = read_catalog()["digits"].model_copy(update={"slots": plan.slots})
    source = make_diffusion(folder, plan.widths, 16)
    limits = {"steps": 15, "guidance_scale": 5.0, "size": [64, 64]}
    values = {"key": "sd-shaped", "source": str(source), "limits": limits}
    for entry in (digits, digits.model_copy(update=values)):
        for dtype in ("bfloat16", "float32"):
            bench = _Bench(entry.model_copy(update={"dtype": dtype}))
            yield _counts(bench, plan)
            if dtype == _TIMED:
                yield _speeds(bench, plan, "mixed", partial(_mixed, bench.entry, plan, plan.timed))
                yield _speeds(bench, plan, "equal", partial(_equal, bench.entry, plan))


def _counts(bench: _Bench, plan: Plan) -> Part:
    """What can be counted once: calls, and how the pictures compare with the stock ones."""
    claims = _mixed(bench.entry, plan, plan.counted, turn=0)
    landings = bench.easel.landings = _Floats()
    work = bench.engine.work
    calls, useful, computed = work.calls, work.useful, work.computed
    bench.draw(claims)
    bench.easel.landings = Landings()
    calls, useful = work.calls - calls, work.useful - useful
    _say(f"{bench.entry.key} {bench.entry.dtype}: {calls} denoiser calls")
    stock = bench.stock(claims)
    steps = sum(claim.params["steps"] for claim in claims)
    full = useful / bench.easel.most_rows
    return Part(
        f"{bench.entry.key} {bench.entry.dtype}: {len(claims)} requests of mixed parameters",
        "requests per denoiser call",
        (
            Measured("genfarm", (len(claims) / calls,)),
            Measured("limit: every batch full", (len(claims) / full,)),
            Measured("stock, one at a time", (len(claims) / steps,)),
        ),
        (
            Ratio("denoiser calls / calls of full batches", calls / full, MOST_CALLS, True),
            Ratio("rows computed / rows needed", (work.computed - computed) / useful),
            *_equality(bench.entry.dtype, stock, landings.images),
        ),
        (f"steps {plan.steps[0]}-{plan.steps[1]}, guidance {_GUIDANCE}, {_SCHEDULERS}",),
    )


def _equality(dtype: str, stock: dict[str, Any], ours: dict[str, Any]) -> list[Ratio]:
    # A scheduler that a model's few steps overflow gives no numbers in both.
    equal = [stock[name].allclose(ours[name], 0.0, 0.0, equal_nan=True) for name in stock]
    goals = (_EQUAL, None) if dtype == "bfloat16" else (None, _ERROR)
    error = largest_error(stock, ours)
    return [
        Ratio("pictures bit-equal to the stock pipeline's", sum(equal) / len(equal), goals[0]),
        Ratio("largest error relative to the stock picture", error, goals[1], True),
    ]


def largest_error(stock: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    """Of the pictures that the stock pipeline could draw; infinite where it could draw none."""
    finite = [name for name in stock if stock[name].isfinite().all()]
    return max((_error(stock[name], ours[name]) for name in finite), default=math.inf)


def _error(stock: Any, ours: Any) -> float:
    # No number compares with any: the largest of some could be another.
    if not ours.isfinite().all():
        return math.inf
    return float((stock - ours).abs().max() / stock.abs().max())


def _speeds(bench: _Bench, plan: Plan, name: str, claims_of: Workload) -> Part:
    number, slots = plan.timed, bench.engine.slots
    few = max(2, number // 4)
    arms = [
        _arm("genfarm", bench.draw, claims_of, number),
        _arm("stock, batches", lambda claims: bench.stock(claims, slots), claims_of, number),
        _arm("stock, one at a time", bench.stock, claims_of, few),
    ]
    title = f"{bench.entry.key} {bench.entry.dtype}: {number} requests, {name} parameters"
    bench.draw(claims_of(0))
    found = interleave(arms, plan.rounds, lambda done, of, arm: _say(f"{title}: {done}/{of}"))
    ours, batches, alone = (arm.median for arm in found)
    return Part(
        title,
        "pictures per CPU-second",
        found,
        (
            Ratio("genfarm / stock one at a time", ours / alone),
            Ratio("genfarm / stock in batches", ours / batches),
        ),
        (
            f"stock batches hold up to {slots} requests that agree in all but prompt and seed",
            f"one at a time: {few} of them whose steps are on average those of all",
            "no prompt comes twice: every arm encodes each of them",
        ),
    )


def _arm(
    name: str, run: Callable[[Sequence[Claim]], object], claims_of: Workload, number: int
) -> Arm:
    turns = count(1)

    def measure() -> float:
        claims = sample(claims_of(next(turns)), number, row_steps)
        began = time.process_time()
        run(claims)
        return number / (time.process_time() - began)

    return Arm(name, measure)


def row_steps(claim: Claim) -> tuple[int]:
    """Rows of the denoiser that a picture takes: with the prompt, and without where guided."""
    steps: int = claim.params["steps"]
    return (steps * (2 if claim.params["guidance_scale"] > 1 else 1),)


def _mates(claims: Sequence[Claim], most: int) -> Iterator[list[Claim]]:
    """In order of arrival, each with the next ones that agree with it."""
    left = list(claims)
    names = ("steps", "guidance_scale", "scheduler")
    while left:
        form = [left[0].params[name] for name in names]
        mates = [claim for claim in left if [claim.params[n] for n in names] == form][:most]
        left = [claim for claim in left if claim not in mates]
        yield mates


def _mixed(entry: ModelEntry, plan: Plan, number: int, turn: int) -> list[Claim]:
    """The same parameters in every turn, and other prompts."""
    draw = random.Random(1)  # noqa: S311  # a workload, not a secret
    return [
        _claim(
            entry,
            index,
            prompt_of(2 * turn, index),
            steps=draw.randint(*plan.steps),
            guidance_scale=draw.choice(_GUIDANCE),
            scheduler=draw.choice(_SCHEDULERS),
        )
        for index in range(number)
    ]


def _equal(entry: ModelEntry, plan: Plan, turn: int) -> list[Claim]:
    steps = min(plan.steps[1], entry.limits["steps"])
    return [
        _claim(entry, index, prompt_of(2 * turn + 1, index), steps=steps, guidance_scale=5.0)
        for index in range(plan.timed)
    ]


def prompt_of(turn: int, index: int) -> str:
    """Another for every turn and index, in words that the starter model knows."""
    words = (_NUMBERS[int(digit)] for digit in f"{turn * 100 + index:04d}")
    return f"a handwritten {' '.join(words)}"


def _claim(entry: ModelEntry, index: int, prompt: str, **values: Any) -> Claim:
    values |= {"prompt": prompt, "seed": index}
    checked = check_params(find_kind(entry.kind), values)
    key = batch_key(entry.key, checked)
    return Claim(f"t{index}", "", 1, entry.kind, entry.key, key, 1, checked.model_dump(), index)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
