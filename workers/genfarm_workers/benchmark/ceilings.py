"""What a device can do at most, measured: a large matrix product and a large copy."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

#: Side of the matrices, and bytes copied; on a CPU only enough to show that it runs.
SIDE, COPIED = {"cuda": 8192, "cpu": 256}, {"cuda": 4 << 30, "cpu": 16 << 20}
#: Calls in a measurement, and measurements of which the best counts: a ceiling is what was
#: reached once.
CALLS, TRIES = {"cuda": 20, "cpu": 2}, 5


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Of one device, now."""

    #: Floating-point operations a second, bfloat16.
    flops: float
    #: Read and written together.
    bytes_per_second: float


def measure_ceilings(device: str) -> Ceilings:
    """Both ceilings; a second or two on a GPU."""
    side = SIDE[device]
    # Never zeros: a GPU that multiplies zeros draws less power, and clocks higher.
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in "lr")
    source = torch.randint(0, 255, (COPIED[device],), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = _best(device, lambda: left @ right)
    copy = _best(device, lambda: target.copy_(source))
    return Ceilings(2 * side**3 / product, 2 * COPIED[device] / copy)


def _best(device: str, call: Callable[[], object]) -> float:
    """Seconds of one call."""
    call()
    seconds = []
    for _ in range(TRIES):
        _finish(device)
        began = time.perf_counter()
        for _ in range(CALLS[device]):
            call()
        _finish(device)
        seconds.append((time.perf_counter() - began) / CALLS[device])
    return min(seconds)


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
