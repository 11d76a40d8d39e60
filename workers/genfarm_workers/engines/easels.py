"""Which way a pipeline is drawn: on steps where that gives the stock pictures, else whole.

Decided once, at load, by drawing two small pictures of different steps both
ways, on an easel of its own. Knows both easels and no task.
"""

import logging
from typing import Any

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.diffusion import Easel, Painter, Row, ask
from genfarm_workers.engines.memory import is_device_fault
from genfarm_workers.engines.pictures import to_pictures
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.stepwise import DENOISERS, StepEasel
from genfarm_workers.engines.whole import WholeEasel

logger = logging.getLogger(__name__)

#: Longest side of the pictures of the check, in pixels; every family takes this multiple.
_CHECK_SIDE = 64
#: Slots of the easel of the check: room for both pictures in one call.
_CHECK_SLOTS = 4
#: Largest mean difference in levels of 255 that rounding explains. On a CPU there is none;
#: two pictures of different seeds differ by tens.
_CHECK_TOLERANCE = 2.0


def choose_way(painter: Painter) -> int | None:
    """Denoiser rows of a usual picture on steps; None where it must be drawn whole.

    Steps if they draw the pictures that the pipeline draws alone.
    """
    reason = _unfit(painter)
    if reason is None:
        # Neither the tasks' work nor their tick, and what it captured for small pictures goes.
        easel = StepEasel(painter, _CHECK_SLOTS, Work())
        reason = _fault(painter, easel)
        if reason is None:
            return easel.widest
    logger.warning(
        "model %s is drawn in whole batches, not on steps: %s; tasks that differ in steps, "
        "guidance or scheduler will wait for each other",
        painter.entry.key,
        reason,
    )
    return None


def make_easel(
    painter: Painter, rows_each: int | None, slots: int, work: Work, tick: Tick = no_tick
) -> Easel:
    """`rows_each` is what `choose_way` found."""
    if rows_each is None:
        return WholeEasel(painter, slots, work, tick)
    easel = StepEasel(painter, slots, work, tick)
    easel.expect(rows_each)
    return easel


def _unfit(painter: Painter) -> str | None:
    pipeline = painter.pipeline
    found = [name for name in DENOISERS if getattr(pipeline, name, None) is not None]
    if len(found) != 1:
        return f"{type(pipeline).__name__} has {len(found)} of {' and '.join(DENOISERS)}"
    if getattr(pipeline, "scheduler", None) is None:
        return f"{type(pipeline).__name__} has no scheduler"
    return None


def _fault(painter: Painter, easel: StepEasel) -> str | None:
    rows = [_row(painter, "one", 2, seed=1), _row(painter, "", 3, seed=2)]
    try:
        difference = _difference(painter, easel, rows)
    # Whatever a pipeline raises on modules that do not compute at once.
    except Exception as error:
        if is_device_fault(error):
            raise
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        easel.drop({row.task_id for row in rows})
    if difference > _CHECK_TOLERANCE:
        return f"pictures differ from the pipeline's own by {difference:.1f} levels of 255"
    return None


def _row(painter: Painter, prompt: str, steps: int, seed: int) -> Row:
    arguments: dict[str, Any] = painter.arguments(
        {"steps": None, "guidance_scale": None, "size": None}
    )
    if painter.takes("num_inference_steps"):
        arguments["num_inference_steps"] = steps
    if painter.takes("width"):
        arguments |= {
            side: min(_CHECK_SIDE, arguments.get(side, _CHECK_SIDE)) for side in ("width", "height")
        }
    return Row(f"check {seed}", 0, prompt, "", seed, None, arguments)


@torch.inference_mode()
def _difference(painter: Painter, easel: StepEasel, rows: list[Row]) -> float:
    """Largest mean difference of a picture, in levels of 255."""
    easel.begin(rows)
    ours: dict[Row, Any] = {}
    while len(ours) < len(rows):
        ours |= {drawn.row: drawn.picture for drawn in easel.advance()}
    found = 0.0
    for row in rows:
        images = painter.with_scheduler(None)(**ask([row])).images
        stock = to_pictures(images)[0]
        # A safety checker may hold back what a check draws: nothing to compare.
        if ours[row] is not None:
            apart = _levels(ours[row].rgb) - _levels(stock.rgb)
            found = max(found, float(apart.abs().mean()))
    return found


def _levels(rgb: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(rgb), dtype=torch.uint8).to(torch.float32)
