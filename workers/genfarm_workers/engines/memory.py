"""Recognises that memory ran out, and gives back what is left of it.

Imports no torch of its own, so that engines without it stay light.
"""

import sys

import psutil

from genfarm_workers.lasting import reclaim

#: How torch, cuDNN, cuBLAS and the CPU allocator say it in a RuntimeError.
_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def is_device_lost(error: BaseException) -> bool:
    """After a device-side fault every later call on that device fails: only a new process helps."""
    return type(error).__name__ == "AcceleratorError" and not is_out_of_memory(error)


def is_device_fault(error: BaseException) -> bool:
    """Says nothing of the model: it may work with more memory, or in a new process."""
    return is_out_of_memory(error) or is_device_lost(error)


def free_memory() -> None:
    """Call outside the `except` block: its traceback keeps the tensors alive."""
    reclaim()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_bytes(device: str) -> int:
    """How much memory there is for models: the GPU's, or this computer's."""
    if device == "cpu":
        return int(psutil.virtual_memory().total)
    import torch

    return int(torch.cuda.mem_get_info()[1])


def held_bytes(device: str) -> int:
    """What this process holds of it now."""
    if device == "cpu":
        return int(psutil.Process().memory_info().rss)
    import torch

    return torch.cuda.memory_allocated()


class Watch:
    """How far memory has grown since this was made; on a GPU at its peak."""

    def __init__(self, device: str) -> None:
        self._device = device
        free_memory()
        self._before = held_bytes(device)
        if device != "cpu":
            sys.modules["torch"].cuda.reset_peak_memory_stats()

    def grown(self) -> int:
        if self._device == "cpu":
            return max(0, held_bytes("cpu") - self._before)
        return max(0, int(sys.modules["torch"].cuda.max_memory_allocated()) - self._before)

    def free(self) -> int:
        """What could still be taken, with what torch keeps for itself and does not use."""
        if self._device == "cpu":
            return int(psutil.virtual_memory().available)
        cuda = sys.modules["torch"].cuda
        kept = cuda.memory_reserved() - cuda.memory_allocated()
        return int(cuda.mem_get_info()[0]) + int(kept)
