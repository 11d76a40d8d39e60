"""One diffusers text-to-image pipeline: loads it, and says how a picture is asked of it.

What the pipeline takes is read from its signature, so that any of them fits.
Every row draws its noise from its own generator on the CPU: the same seed
gives the same noise on every device. Knows no batch and keeps no state.
"""

import copy
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Clip, Picture
from genfarm_workers.engines.pictures import to_pictures
from genfarm_workers.engines.schedulers import Schedulers, name_of, takes_scheduler
from genfarm_workers.engines.weights import choose_dtype, find_weights, quiet_libraries


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture or clip to draw."""

    task_id: str
    #: Which of the task's n pictures.
    k: int
    prompt: str
    negative_prompt: str
    seed: int
    #: Name of a scheduler; None for the pipeline's own.
    scheduler: str | None = None
    #: Steps, guidance and size, as the pipeline calls them.
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A row and its picture or clip."""

    row: Row
    #: None where the safety checker held it back.
    picture: Picture | Clip | None


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a row is."""

    done: int
    total: int
    #: (1, 3, height, width) in 0..1, small; None where it has none yet.
    preview: torch.Tensor | None = None


class Easel(Protocol):
    """Draws rows."""

    def free(self) -> int:
        """How many more rows it takes."""

    def begin(self, rows: Sequence[Row]) -> None: ...

    def advance(self) -> list[Drawn]:
        """One unit of work. What it raises leaves its rows with it, until they are dropped."""

    def drop(self, task_ids: set[str]) -> None: ...

    def stages(self, task_ids: set[str]) -> Mapping[tuple[str, int], Stage]:
        """How far rows of those tasks are, by task and k; without those not begun."""


class Painter:
    """A loaded pipeline."""

    def __init__(self, entry: ModelEntry, device: str) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self.entry = entry
        self.pipeline = _load(entry, device)
        self._schedulers = Schedulers(getattr(self.pipeline, "scheduler", None))
        self.options = inspect.signature(self.pipeline.__call__).parameters

    def modules(self) -> list[Any]:
        """The parts that have weights."""
        parts = self.pipeline.components.values()
        return [part for part in parts if isinstance(part, torch.nn.Module)]

    def refusal(self, params: Mapping[str, Any]) -> str | None:
        """Which of a task's parameters this pipeline does not take, if any."""
        asked = {
            "negative_prompt": bool(params["negative_prompt"]),
            "guidance_scale": params["guidance_scale"] is not None,
            "num_inference_steps": params["steps"] is not None,
            "width": params["size"] is not None,
        }
        refused = [name for name, is_asked in asked.items() if is_asked and not self.takes(name)]
        scheduler = params.get("scheduler")
        if scheduler and not takes_scheduler(self.pipeline.scheduler, scheduler):
            refused.append(f"scheduler {scheduler!r}")
        if not refused:
            return None
        return f"model {self.entry.key!r} takes no {refused[0]}; leave it out or change the model"

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Steps, guidance and size for the pipeline: the task's, else the registry's."""
        chosen = {
            name: self.entry.limits.get(name) if params[name] is None else params[name]
            for name in ("steps", "guidance_scale", "size")
        }
        width, height = chosen["size"] or (None, None)
        named = {
            "num_inference_steps": chosen["steps"],
            "guidance_scale": chosen["guidance_scale"],
            "width": width,
            "height": height,
        }
        return {
            name: value for name, value in named.items() if value is not None and self.takes(name)
        }

    def shown(self, drawn: Any, count: int) -> Sequence[Picture | Clip]:
        """The first of what a call of the pipeline has drawn."""
        return to_pictures(drawn.images[:count])

    def used(self, arguments: Mapping[str, Any], option: str) -> Any:
        """What a row with those arguments runs with: the pipeline's own default if not named."""
        if option in arguments or not self.takes(option):
            return arguments.get(option)
        return self.options[option].default

    def scheduler_name(self, name: str | None) -> str | None:
        """Of the scheduler that a row with that name is drawn with; None if there is none."""
        own = getattr(self.pipeline, "scheduler", None)
        return name if name is not None or own is None else name_of(own)

    def takes(self, option: str) -> bool:
        return option in self.options

    def with_scheduler(self, name: str | None, stage: Any = None) -> Any:
        """A pipeline of the same modules, or of `stage`'s, with a scheduler of its own."""
        own = copy.copy(stage if stage is not None else self.pipeline)
        if getattr(own, "scheduler", None) is not None:
            # Past the pipeline's own way, which looks up and rewrites its configuration.
            own.__dict__["scheduler"] = self._schedulers.make(name)
        return own


def ask(rows: Sequence[Row]) -> dict[str, Any]:
    """What a pipeline is called with to draw rows of equal arguments.

    A negative prompt is left out where no row has one: some pipelines treat
    none and an empty one differently.
    """
    asked = {
        **rows[0].arguments,
        "prompt": [row.prompt for row in rows],
        "generator": [torch.Generator().manual_seed(row.seed) for row in rows],
        "output_type": "pt",
    }
    if any(row.negative_prompt for row in rows):
        asked["negative_prompt"] = [row.negative_prompt for row in rows]
    return asked


def flags_of(drawn: Any, count: int) -> list[bool]:
    """Which of a pipeline's pictures its safety checker held back."""
    flags = getattr(drawn, "nsfw_content_detected", None) or [False] * count
    return [bool(flag) for flag in flags]


def _load(entry: ModelEntry, device: str) -> Any:
    quiet_libraries()
    from diffusers import AutoPipelineForText2Image
    from diffusers.utils.logging import disable_progress_bar

    folder = find_weights(entry)
    dtype = choose_dtype(entry, device)
    disable_progress_bar()
    try:
        pipeline = _read(AutoPipelineForText2Image, folder, dtype, _left_out(entry, folder))
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is not a text-to-image pipeline that diffusers can "
            f"load ({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    wants = entry.review is not None and entry.review.safety_checker
    if wants and getattr(pipeline, "safety_checker", None) is None:
        raise ModelUnavailable(
            f"model {entry.key!r}: its review wants the pipeline's safety checker, and {folder} "
            "has none. Take safety_checker out of models.toml, or add the checker to the model"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _left_out(entry: ModelEntry, folder: Path) -> dict[str, None]:
    """The safety checker, where the registry says so and the pipeline has a place for one."""
    is_off = entry.review is not None and entry.review.safety_checker is False
    parts = json.loads((folder / "model_index.json").read_bytes()) if is_off else {}
    return {"safety_checker": None} if "safety_checker" in parts else {}


def _read(auto_class: Any, folder: Path, dtype: torch.dtype, parts: Mapping[str, None]) -> Any:
    """By task where diffusers has a table for the class, else the class the folder names."""
    from diffusers import DiffusionPipeline

    options = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        **parts,
    }
    try:
        return auto_class.from_pretrained(folder, **options)
    except ValueError:
        return DiffusionPipeline.from_pretrained(folder, **options)
