"""Recognises that memory ran out, and gives back what is left of it.

Imports no torch of its own, so that engines without it stay light.
"""

import gc
import sys

#: How torch, cuDNN, cuBLAS and the CPU allocator say it in a RuntimeError.
_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def is_device_lost(error: BaseException) -> bool:
    """After a device-side fault every later call on that device fails: only a new process helps."""
    return type(error).__name__ == "AcceleratorError" and not is_out_of_memory(error)


def free_memory() -> None:
    """Call outside the `except` block: its traceback keeps the tensors alive."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
