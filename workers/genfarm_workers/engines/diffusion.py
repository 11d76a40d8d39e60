"""One diffusers text-to-image pipeline: loads it, and draws batches of a given size.

What the pipeline takes is read from its signature, so that any of them fits.
Every row draws its noise from its own generator on the CPU: the same seed
gives the same noise on every device. Knows no task and keeps no state.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Picture
from genfarm_workers.engines.weights import choose_dtype, find_weights, quiet_libraries


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture to draw."""

    task_id: str
    #: Which of the task's n pictures.
    k: int
    prompt: str
    negative_prompt: str
    seed: int


class Painter:
    """A loaded pipeline."""

    def __init__(self, entry: ModelEntry, device: str) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._entry = entry
        self._pipeline = _load(entry, device)
        self._options = inspect.signature(self._pipeline.__call__).parameters

    def modules(self) -> list[Any]:
        """The parts that have weights."""
        parts = self._pipeline.components.values()
        return [part for part in parts if isinstance(part, torch.nn.Module)]

    def refusal(self, params: Mapping[str, Any]) -> str | None:
        """Which of a task's parameters this pipeline does not take, if any."""
        asked = {
            "negative_prompt": bool(params["negative_prompt"]),
            "guidance_scale": params["guidance_scale"] is not None,
            "num_inference_steps": params["steps"] is not None,
            "width": params["size"] is not None,
        }
        refused = [name for name, is_asked in asked.items() if is_asked and not self._takes(name)]
        if not refused:
            return None
        return f"model {self._entry.key!r} takes no {refused[0]}; leave it out or change the model"

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Steps, guidance and size for the pipeline: the task's, else the registry's."""
        chosen = {
            name: self._entry.limits.get(name) if params[name] is None else params[name]
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
            name: value for name, value in named.items() if value is not None and self._takes(name)
        }

    def used(self, arguments: Mapping[str, Any], option: str) -> Any:
        """What a batch with those arguments runs with: the pipeline's own default if not named."""
        if option in arguments or not self._takes(option):
            return arguments.get(option)
        return self._options[option].default

    @torch.inference_mode()
    def draw(
        self,
        rows: Sequence[Row],
        batch_rows: int,
        arguments: Mapping[str, Any],
        between: Callable[[], None],
    ) -> list[Picture | None]:
        """One picture per row, None where the safety checker held it back.

        The batch is filled up to `batch_rows` with empty prompts. `between`
        is called after each denoise step and may raise to end the batch.
        """
        filler = Row("", 0, "", "", 0)
        batch = [*rows, *[filler] * (batch_rows - len(rows))]
        extra = dict(arguments)
        if any(row.negative_prompt for row in rows):
            extra["negative_prompt"] = [row.negative_prompt for row in batch]
        if self._takes("callback_on_step_end"):
            extra["callback_on_step_end"] = _callback(between)
        drawn = self._pipeline(
            prompt=[row.prompt for row in batch],
            generator=[torch.Generator().manual_seed(row.seed) for row in batch],
            output_type="pt",
            **extra,
        )
        flags = getattr(drawn, "nsfw_content_detected", None) or [False] * batch_rows
        pictures = _to_pictures(drawn.images[: len(rows)])
        return [None if flag else picture for picture, flag in zip(pictures, flags, strict=False)]

    def _takes(self, option: str) -> bool:
        return option in self._options


def _load(entry: ModelEntry, device: str) -> Any:
    quiet_libraries()
    from diffusers import AutoPipelineForText2Image
    from diffusers.utils.logging import disable_progress_bar

    folder = find_weights(entry)
    dtype = choose_dtype(entry, device)
    disable_progress_bar()
    try:
        pipeline = _read(AutoPipelineForText2Image, folder, dtype)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is not a text-to-image pipeline that diffusers can "
            f"load ({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _read(auto_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    """By task where diffusers has a table for the class, else the class the folder names."""
    from diffusers import DiffusionPipeline

    options = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    try:
        return auto_class.from_pretrained(folder, **options)
    except ValueError:
        return DiffusionPipeline.from_pretrained(folder, **options)


def _callback(between: Callable[[], None]) -> Callable[..., Any]:
    def call(pipeline: Any, index: int, timestep: Any, state: Any) -> Any:
        between()
        return state

    return call


def _to_pictures(images: torch.Tensor) -> list[Picture]:
    """(B, 3, height, width) in 0..1 to pictures; to bytes on the device, a quarter the copy."""
    pixels = (images.float() * 255).round().clamp(0, 255).to(torch.uint8)
    rows = pixels.permute(0, 2, 3, 1).contiguous().cpu()
    height, width = rows.shape[1:3]
    return [Picture(width, height, row.numpy().tobytes()) for row in rows]
