"""The image engine: text-to-image tasks, one denoise step per step where the pipeline allows.

Turns tasks into rows and drawn rows into outputs. How rows are drawn is
decided once, at load (`easels.py`). Knows tasks; no tensor and no pipeline,
and encoding happens elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Clip, Glimpse, Output, Picture, Work
from genfarm_workers.engines.diffusion import Drawn, Painter, Row, Stage
from genfarm_workers.engines.easels import choose_way, make_easel
from genfarm_workers.engines.noise import derive_seed
from genfarm_workers.engines.pictures import to_pictures
from genfarm_workers.engines.registry import Tick, no_tick


@dataclass(frozen=True, slots=True)
class _Task:
    claim: Claim
    #: By k; a picture that the safety checker held back is None.
    pictures: dict[int, Picture | Clip | None] = field(default_factory=dict)


class ImageEngine:
    """Holds tasks of one batch key, which is one size of picture, at a time."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        self.work = Work()
        self._entry = entry
        self._device = device
        self._tick = tick
        self._tasks: dict[str, _Task] = {}
        self._refused: list[Output] = []

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._painter = Painter(self._entry, self._device)
        self._rows_each = choose_way(self._painter)
        self.resize(self.slots)

    def resize(self, rows: int) -> None:
        self.slots = rows
        self._easel = make_easel(self._painter, self._rows_each, rows, self.work, self._tick)

    def modules(self) -> list[Any]:
        return self._painter.modules()

    def free_rows(self, batch_key: str) -> int:
        if any(task.claim.batch_key != batch_key for task in self._tasks.values()):
            return 0
        return self._easel.free()

    def admit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            fault = self._painter.refusal(claim.params)
            if fault is not None:
                failure = Failure("invalid_params", fault)
                self._refused.append(Output(claim.task_id, failure=failure))
                continue
            self._tasks[claim.task_id] = _Task(claim)
            self._easel.begin(self._rows_of(claim))

    def step(self, now: float) -> list[Output]:
        """One step of every picture, or one batch to its end; return the tasks that ended."""
        outputs, self._refused = self._refused, []
        if self._tasks:
            outputs += self._complete(self._easel.advance())
        return outputs

    def wakes_at(self, now: float) -> float | None:
        return now if self._tasks or self._refused else None

    def drop(self, task_ids: Sequence[str]) -> None:
        """May be called from the tick within `step`."""
        gone = set(task_ids)
        for task_id in gone:
            self._tasks.pop(task_id, None)
        self._refused = [output for output in self._refused if output.task_id not in gone]
        self._easel.drop(gone)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """Steps of all its pictures, and the first of them as it looks by now."""
        held = [self._tasks[task_id] for task_id in task_ids if task_id in self._tasks]
        stages = self._easel.stages({task.claim.task_id for task in held})
        return [_glimpse(task, stages) for task in held]

    def _complete(self, drawn: Sequence[Drawn]) -> list[Output]:
        """Put pictures with their tasks; take out the tasks that have all of theirs."""
        complete = []
        for one in drawn:
            task = self._tasks.get(one.row.task_id)
            if task is None:
                continue
            task.pictures[one.row.k] = one.picture
            if len(task.pictures) == task.claim.params["n"]:
                complete.append(self._tasks.pop(one.row.task_id))
        return [self._ended(task) for task in complete]

    def _ended(self, task: _Task) -> Output:
        claim = task.claim
        pictures = [task.pictures[k] for k in range(len(task.pictures))]
        shown = [picture for picture in pictures if picture is not None]
        if len(shown) < len(pictures):
            message = (
                f"the model's safety checker held back {len(pictures) - len(shown)} of "
                f"{len(pictures)} pictures. Change the prompt or the seed"
            )
            return Output(claim.task_id, failure=Failure("content_filtered", message))
        return self._output(claim, shown)

    def _output(self, claim: Claim, shown: list[Any]) -> Output:
        arguments = self._painter.arguments(claim.params)
        output = {
            "pictures": len(shown),
            "size": [shown[0].width, shown[0].height],
            "steps": self._painter.used(arguments, "num_inference_steps"),
            "guidance_scale": self._painter.used(arguments, "guidance_scale"),
            "scheduler": self._painter.scheduler_name(claim.params.get("scheduler")),
            "seeds": self._seeds_of(claim),
        }
        return Output(claim.task_id, output=output, files=shown)

    def _seeds_of(self, claim: Claim) -> list[int]:
        return [derive_seed(claim.seed, k) for k in range(claim.params["n"])]

    def _rows_of(self, claim: Claim) -> list[Row]:
        params = claim.params
        arguments = self._painter.arguments(params)
        return [
            Row(
                claim.task_id,
                k,
                params["prompt"],
                params["negative_prompt"],
                derive_seed(claim.seed, k),
                # A claim that was written before the parameter existed has none.
                params.get("scheduler"),
                arguments,
            )
            for k in range(params["n"])
        ]


def _glimpse(task: _Task, stages: Mapping[tuple[str, int], Stage]) -> Glimpse:
    task_id, number = task.claim.task_id, task.claim.params["n"]
    found = [stages[task_id, k] for k in range(number) if (task_id, k) in stages]
    each = max((stage.total for stage in found), default=0)
    done = sum(stage.done for stage in found) + each * len(task.pictures)
    drawn = task.pictures.get(0)
    picture = drawn if isinstance(drawn, Picture) else None
    if drawn is None and found and found[0].preview is not None:
        picture = to_pictures(found[0].preview)[0]
    return Glimpse(task_id, done, each * number, picture=picture)
