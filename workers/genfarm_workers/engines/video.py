"""The video engine: text-to-video tasks through any diffusers pipeline that gives frames.

Drawn in whole batches like the pictures of pipelines that cannot be drawn on
steps, with everything that they share. Knows tasks, and what a clip has beyond
a picture: frames, and a bound on all its pixels together.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Clip, Output
from genfarm_workers.engines.diffusion import Painter
from genfarm_workers.engines.image import ImageEngine
from genfarm_workers.engines.pictures import to_bytes
from genfarm_workers.engines.whole import WholeEasel

#: Frames x width x height of one clip, where the registry names no other `most_pixels`: 32
#: frames of 1024 x 1024. It bounds what a row takes of memory; not measured on a GPU.
_MOST_PIXELS = 32 << 20
#: The same for frames alone.
_MOST_FRAMES = 256


class VideoPainter(Painter):
    """A loaded pipeline that draws frames."""

    def __init__(self, entry: ModelEntry, device: str) -> None:
        super().__init__(entry, device)
        if not self.takes("num_frames"):
            raise ModelUnavailable(
                f"model {entry.key!r}: {type(self.pipeline).__name__} draws no frames; expected a "
                "text-to-video pipeline. Correct source or kind in models.toml"
            )
        if self._size_of({}) is None:
            raise ModelUnavailable(
                f"model {entry.key!r}: {type(self.pipeline).__name__} does not say how large its "
                "frames are, which bounds what a clip takes of memory. Name it in models.toml: "
                f"size = [width, height] below [models.{entry.key}.limits]"
            )

    def refusal(self, params: Mapping[str, Any]) -> str | None:
        return super().refusal(params) or self._excess(params)

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """With the number of frames: the task's, else the registry's, else the pipeline's."""
        asked = params.get("frames")
        frames = self.entry.limits.get("frames") if asked is None else asked
        own = {} if frames is None else {"num_frames": frames}
        return {**super().arguments(params), **own}

    def shown(self, drawn: Any, count: int) -> list[Clip]:
        """The first clips of (B, frames, 3, height, width); their pace is for a task to say."""
        clips = []
        for frames in drawn.frames[:count]:
            pixels = to_bytes(torch.as_tensor(frames)).cpu()
            _, height, width, _ = pixels.shape
            clips.append(Clip(width, height, 1, pixels.numpy().tobytes()))
        return clips

    def _excess(self, params: Mapping[str, Any]) -> str | None:
        arguments = self.arguments(params)
        frames = self.used(arguments, "num_frames") or 1
        most = int(self.entry.limits.get("most_frames", _MOST_FRAMES))
        if frames > most:
            return (
                f"frames={frames}: model {self.entry.key!r} draws at most {most}. Ask for fewer, "
                "or raise limits.most_frames in models.toml"
            )
        width, height = self._size_of(arguments) or (0, 0)
        most = int(self.entry.limits.get("most_pixels", _MOST_PIXELS))
        if frames * width * height > most:
            return (
                f"frames={frames} of {width}x{height} are {frames * width * height:,} pixels; "
                f"model {self.entry.key!r} draws at most {most:,} in a clip. Ask for fewer or "
                "smaller frames, or raise limits.most_pixels in models.toml"
            )
        return None

    def _size_of(self, arguments: Mapping[str, Any]) -> tuple[int, int] | None:
        """Width and height of frames, None where nothing names them."""
        used = [self.used(arguments, side) for side in ("width", "height")]
        wide, high = self.entry.limits.get("size") or native_size(self.pipeline) or (None, None)
        width, height = used[0] or wide, used[1] or high
        return (int(width), int(height)) if width and height else None


def native_size(pipeline: Any) -> tuple[int, int] | None:
    """What a pipeline draws that is told no size: its model's places times the VAE's scale."""
    drawer = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    config = getattr(drawer, "config", None) or {}
    size = config.get("sample_size")
    high, wide = size if isinstance(size, list | tuple) else (size, size)
    high, wide = config.get("sample_height") or high, config.get("sample_width") or wide
    names = ("vae_scale_factor", "vae_scale_factor_spatial")
    scale = next((getattr(pipeline, name) for name in names if hasattr(pipeline, name)), None)
    return (int(wide * scale), int(high * scale)) if wide and high and scale else None


class VideoEngine(ImageEngine):
    """Holds tasks of one batch key at a time: one size, number of frames, steps and guidance."""

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._painter = VideoPainter(self._entry, self._device)
        self.resize(self.slots)

    def resize(self, rows: int) -> None:
        self.slots = rows
        self._easel = WholeEasel(self._painter, rows, self.work, self._tick)

    def _output(self, claim: Claim, shown: list[Any]) -> Output:
        params = claim.params
        clips = [replace(clip, fps=params["fps"], format=params["format"]) for clip in shown]
        arguments = self._painter.arguments(params)
        size = (clips[0].width, clips[0].height)
        output = {
            "clips": len(clips),
            "frames": len(clips[0].rgb) // (size[0] * size[1] * 3),
            "fps": params["fps"],
            "size": list(size),
            "steps": self._painter.used(arguments, "num_inference_steps"),
            "guidance_scale": self._painter.used(arguments, "guidance_scale"),
            "seeds": self._seeds_of(claim),
        }
        return Output(claim.task_id, output=output, files=clips)
