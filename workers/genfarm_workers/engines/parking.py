"""Moves a model's weights between a device and the host's memory, and says how many they are.

An engine that has weights names the modules that hold them; one that does not has none.
"""

import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import psutil

from genfarm_workers.engines import Closing, Engine
from genfarm_workers.engines.knee import Resizable
from genfarm_workers.engines.memory import free_memory

#: A warm copy is kept only while the host has so many times its size free: what a host that
#: swaps would lose is more than any load from its disk. Not measured.
SPARE = 2.0


@runtime_checkable
class Weighty(Protocol):
    """An engine with weights that can be moved while it holds no task."""

    def modules(self) -> list[Any]:
        """The torch modules that hold all its weights."""


def weight_bytes(engine: Engine) -> int:
    """Bytes of its weights, none for an engine that names no modules."""
    return tensor_bytes(engine.modules() if isinstance(engine, Weighty) else [])


def tensor_bytes(modules: Sequence[Any]) -> int:
    """Of their parameters and buffers, each counted once."""
    tensors = {
        id(tensor): tensor.nbytes
        for module in modules
        for found in (module.parameters(), module.buffers())
        for tensor in found
    }
    return sum(tensors.values())


def can_park(engine: Engine) -> bool:
    """Whether a copy in the host's memory is possible, and there is room for it."""
    is_able = isinstance(engine, Weighty) and isinstance(engine, Resizable)
    # An engine on an exported file names no modules: what a file holds does not move.
    size = weight_bytes(engine)
    return is_able and 0 < size * SPARE < psutil.virtual_memory().available


def park(engine: Engine) -> None:
    """Move the weights to the host, and let go of caches and graphs made for them."""
    assert isinstance(engine, Weighty)  # noqa: S101  # `can_park` said so
    assert isinstance(engine, Resizable)  # noqa: S101
    if isinstance(engine, Closing):
        engine.close()
    else:
        engine.resize(1)
    for module in engine.modules():
        module.to("cpu")
        _pin(module)
    free_memory()


def unpark(engine: Engine, device: str, rows: int) -> None:
    """Move them back. Raises as any load does when memory runs out."""
    assert isinstance(engine, Weighty)  # noqa: S101
    assert isinstance(engine, Resizable)  # noqa: S101
    for module in engine.modules():
        module.to(device, non_blocking=True)
    engine.resize(rows)


def _pin(module: Any) -> None:
    """Pinned memory moves at the bus's full speed, and while the host does other things."""
    if not sys.modules["torch"].cuda.is_available():
        return
    for found in (module.parameters(), module.buffers()):
        for tensor in found:
            tensor.data = tensor.data.pin_memory()
