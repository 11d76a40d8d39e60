"""Which engine runs which registry entry: one line per engine.

Engines are imported by name and only when built, so that a worker that only
sleeps never imports torch. Knows nothing of what is inside an engine.
"""

import importlib
from collections.abc import Callable
from typing import cast

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine

#: Called between two device calls of a long step: a sign of life, and the moment at
#: which `drop` may be called from within `step`.
Tick = Callable[[], None]

ENGINES = {
    "text": "text:TextEngine",
    "text-continuous": "continuous:ContinuousTextEngine",
    "image": "image:ImageEngine",
    "caption": "caption:CaptionEngine",
    "floats": "floats:FloatsEngine",
    "sleep": "sleep:SleepEngine",
    "drill": "drill:DrillEngine",
    "busy": "busy:BusyEngine",
}


def no_tick() -> None:
    """For engines that run outside a loop."""


def build(entry: ModelEntry, device: str, tick: Tick = no_tick) -> Engine:
    """The engine of that entry, not yet loaded.

    Raises ModelUnavailable for an unknown engine or one whose packages are
    not installed.
    """
    try:
        module, _, name = ENGINES[entry.engine].partition(":")
    except KeyError:
        known = ", ".join(ENGINES)
        raise ModelUnavailable(
            f"model {entry.key!r}: no engine {entry.engine!r}; expected one of {known}. "
            "Correct it in models.toml"
        ) from None
    try:
        found = getattr(importlib.import_module(f"genfarm_workers.engines.{module}"), name)
    except ImportError as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: the {entry.engine} engine cannot be imported ({error}). "
            "Install torch and then genfarm[worker]"
        ) from error
    return cast(Engine, found(entry, device, tick))
