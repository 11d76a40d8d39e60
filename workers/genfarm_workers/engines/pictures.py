"""From the numbers that a pipeline ends with to bytes on the host.

Numbers become bytes on the device, a quarter of the copy. A GPU copies into
pinned memory beside the next step, and nobody waits for it. Knows no pipeline.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from genfarm_workers.engines import Picture

#: Longer side of a preview, in pixels. It goes through Redis.
PREVIEW_SIDE = 128

Label = TypeVar("Label")


def to_pictures(images: torch.Tensor) -> list[Picture]:
    """(B, 3, height, width) in 0..1 to pictures."""
    return [_picture(row) for row in to_bytes(images).cpu()]


def shrink(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, height, width) in -1..1, as decoders give them, to a small one in 0..1."""
    height, width = images.shape[2:]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = torch.nn.functional.interpolate(images.float(), size=size, mode="area")
    return (small / 2 + 0.5).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class _Landing(Generic[Label]):
    label: Label
    #: (height, width, 3) on the host, complete once `event` has happened.
    pixels: torch.Tensor
    #: A CUDA event; None where the bytes were on the host already.
    event: Any


class Landings(Generic[Label]):
    """Pictures on their way to the host, in the order in which they set out."""

    def __init__(self) -> None:
        self._coming: deque[_Landing[Label]] = deque()

    def send(self, label: Label, image: torch.Tensor) -> None:
        """(1, 3, height, width) in 0..1."""
        pixels = to_bytes(image)[0]
        if not pixels.is_cuda:
            self._coming.append(_Landing(label, pixels, None))
            return
        host = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
        host.copy_(pixels, non_blocking=True)
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._coming.append(_Landing(label, host, event))

    def landed(self, *, wait: bool) -> Iterator[tuple[Label, Picture]]:
        """Those that are there; all of them with `wait`."""
        while self._coming:
            first = self._coming[0]
            if first.event is not None and not first.event.query():
                if not wait:
                    return
                first.event.synchronize()
            self._coming.popleft()
            yield first.label, _picture(first.pixels)


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """(B, height, width, 3), still on the device."""
    pixels = (images.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous()


def _picture(pixels: torch.Tensor) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(width, height, pixels.numpy().tobytes())
