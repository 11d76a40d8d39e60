"""Pictures drawn on steps: each at its own step, all in one call of the denoiser.

Every row is a pipeline call of its own (`solo.py`) with its own steps,
guidance, scheduler and noise. One `advance` lets all of them go to their next
call of the denoiser and answers those together; rows join and leave between
two. Which pipelines can be drawn so is found out by `easels.py`. Knows rows
and modules; no task.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.diffusion import Drawn, Painter, Row, Stage, ask, flags_of
from genfarm_workers.engines.embeddings import Embeddings
from genfarm_workers.engines.ensemble import Ensemble, Part, Tuner
from genfarm_workers.engines.launches import choose_launch
from genfarm_workers.engines.pictures import Landings, shrink
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.solo import Solo, shadow_stage
from genfarm_workers.engines.steady import Steady

#: Pictures, and pixels of pictures, that are decoded together on a CPU, where memory that runs
#: out is no error but the end. A GPU decodes them one at a time, which fills it at usual sizes.
#: Not measured there.
DECODE_ROWS, DECODE_PIXELS = 8, 1 << 19
#: Seconds between two previews of a picture, each of which costs a decode.
PREVIEW_SECONDS = 1.0
#: Components that denoise; a pipeline on steps has exactly one of them.
DENOISERS = ("unet", "transformer")


class _Seat:
    """A row that is being drawn."""

    def __init__(self, row: Row, pipeline: Any) -> None:
        self.row, self._pipeline = row, pipeline
        self.solo = Solo(lambda: pipeline(**ask([row])))
        self.tuner = Tuner()
        #: The call it stopped at, where that is answered together with others'.
        self.part: Part | None = None
        #: Denoiser rows that it takes; None before its first step.
        self.rows: int | None = None
        self.done = 0
        self.preview: torch.Tensor | None = None
        self.preview_at = float("-inf")

    def wants(self, component: str) -> bool:
        return self.part is not None and self.part.call.component == component

    def stage(self) -> Stage:
        asked = self.row.arguments.get("num_inference_steps", 0)
        total = getattr(self._pipeline, "_num_timesteps", None) or asked
        return Stage(self.done, max(total, self.done), self.preview)


class StepEasel:
    """Draws on steps. One thread calls it; `drop` may come from its tick."""

    def __init__(
        self,
        painter: Painter,
        slots: int,
        work: Work,
        tick: Tick = no_tick,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._painter, self._slots, self._clock = painter, slots, clock
        #: Called between two device calls.
        self._tick = tick
        pipeline = painter.pipeline
        self._denoiser = next(n for n in DENOISERS if getattr(pipeline, n, None) is not None)
        self._stage = shadow_stage(pipeline)
        self._waiting: list[Row] = []
        self._seats: list[_Seat] = []
        #: Where finished pictures go.
        self.landings: Landings[Row] = Landings()
        self._held_back: list[Row] = []
        self.embeddings = Embeddings()
        #: Denoiser rows of the picture that took most so far.
        self.widest = 1
        self._ensembles = {self._denoiser: _denoisers(painter, self._denoiser, slots, work)}
        vae = getattr(pipeline, "vae", None)
        if vae is not None and not _may_be_lifted(vae):
            self._ensembles["vae"] = _decoders(vae)
        self.expect(1)

    def expect(self, rows: int) -> None:
        """A usual picture takes so many denoiser rows: 2 with guidance."""
        self._rows_each = rows
        self._ensembles[self._denoiser].most_rows = self._slots * rows

    @property
    def most_rows(self) -> int:
        """Denoiser rows of a full batch."""
        return self._ensembles[self._denoiser].most_rows

    def free(self) -> int:
        return max(0, self._spare() // self._rows_each - len(self._waiting))

    def begin(self, rows: Sequence[Row]) -> None:
        self._waiting.extend(rows)

    @torch.inference_mode()
    def advance(self) -> list[Drawn]:
        """Seat what waits, then one step for every row; those at their end are decoded."""
        self._seat()
        for component in self._ensembles:
            self._answer(component)
        held_back, self._held_back = self._held_back, []
        landed = self.landings.landed(wait=not self._seats)
        return [
            *(Drawn(row, None) for row in held_back),
            *(Drawn(row, picture) for row, picture in landed),
        ]

    def drop(self, task_ids: set[str]) -> None:
        self._waiting = [row for row in self._waiting if row.task_id not in task_ids]
        for seat in [seat for seat in self._seats if seat.row.task_id in task_ids]:
            self._seats.remove(seat)
            seat.solo.stop()

    @torch.inference_mode()
    def stages(self, task_ids: set[str]) -> Mapping[tuple[str, int], Stage]:
        watched = [seat for seat in self._seats if seat.row.task_id in task_ids]
        for seat in watched:
            now = self._clock()
            if seat.done and now - seat.preview_at >= PREVIEW_SECONDS:
                seat.preview, seat.preview_at = self._preview(seat), now
        return {(seat.row.task_id, seat.row.k): seat.stage() for seat in watched}

    def _spare(self) -> int:
        return self.most_rows - sum(seat.rows or self._rows_each for seat in self._seats)

    def _seat(self) -> None:
        while self._waiting:
            if self._seats and self._spare() < self._rows_each:
                return
            row = self._waiting.pop(0)
            seat = _Seat(row, self._painter.with_scheduler(row.scheduler, self._stage))
            self._seats.append(seat)
            self._drive(seat)
            self._tick()

    def _answer(self, component: str) -> None:
        """Answer all calls of that component that rows have stopped at."""
        seats = [seat for seat in self._seats if seat.wants(component)]
        answers = self._ensembles[component].answer([seat.part for seat in seats if seat.part])
        self._tick()
        for seat, answer in zip(seats, answers, strict=True):
            # The tick may have dropped it.
            if seat in self._seats:
                seat.done += component == self._denoiser
                self._drive(seat, answer)

    def _drive(self, seat: _Seat, answer: Any = None) -> None:
        """Let a row go on until it stops at a call that is answered together with others'."""
        seat.part = None
        call = seat.solo.resume(answer)
        while call is not None and call.component not in self._ensembles:
            if call.component.startswith("text_encoder"):
                answer = self.embeddings.recall(call)
            else:
                answer = call.answer()
            call = seat.solo.resume(answer)
        if call is None:
            self._leave(seat)
            return
        seat.part = seat.tuner.part(call)
        if call.component == self._denoiser:
            seat.rows = seat.part.rows
            self.widest = max(self.widest, seat.rows)

    def _leave(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        drawn = seat.solo.result
        if flags_of(drawn, 1)[0]:
            self._held_back.append(seat.row)
        else:
            self.landings.send(seat.row, drawn.images[:1])

    def _preview(self, seat: _Seat) -> torch.Tensor | None:
        """What the denoiser is about to see, decoded: noise and all."""
        vae = getattr(self._painter.pipeline, "vae", None)
        if vae is None or not seat.wants(self._denoiser) or seat.part is None:
            return seat.preview
        latents = next(leaf for leaf in seat.part.leaves if isinstance(leaf, torch.Tensor))[-1:]
        if latents.dim() != 4 or latents.shape[1] != getattr(vae.config, "latent_channels", None):
            return None
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        latents = latents / vae.config.scaling_factor + shift
        return shrink(vae.decode(latents.to(vae.dtype), return_dict=False)[0])


def _denoisers(painter: Painter, name: str, slots: int, work: Work) -> Ensemble:
    module = getattr(painter.pipeline, name)
    if module.device.type == "cpu":
        return Ensemble(slots, work, launch=Steady(module).launch)
    launch = choose_launch(module, painter.entry)
    return Ensemble(slots, work, is_fixed=True, launch=launch)


def _may_be_lifted(vae: Any) -> bool:
    """Whether its pipeline could lift a decode to float32. That must be undone before the next
    begins, so those are decoded one at a time; in float32 there is nothing to lift."""
    return bool(getattr(vae.config, "force_upcast", False)) and vae.dtype != torch.float32


def _decoders(vae: Any) -> Ensemble:
    """Decodes are no steps: their work is not counted."""
    if vae.device.type == "cpu":
        pixels = int(getattr(vae.config, "sample_size", None) or 1) ** 2
        rows = min(DECODE_ROWS, max(1, DECODE_PIXELS // pixels))
        return Ensemble(rows, Work(), launch=Steady(vae).launch)
    return Ensemble(1, Work(), is_fixed=True)
