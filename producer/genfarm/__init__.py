"""The client of a generation farm: ask for texts and pictures in bulk, get each exactly once.

    import genfarm as gf

    with gf.Farm.local() as farm:
        job = farm.submit_many("text-to-image", ["a drawing of a 7"] * 100)
        job.wait().save("sevens")

Importing costs nothing: the names below are loaded when first touched, and
never with them torch, celery or the database layer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from genfarm_shared.errors import (
    GenfarmError,
    InvalidSetting,
    InvalidTask,
    ItemCancelled,
    ItemError,
    ItemExpired,
    ItemFailed,
    ItemTimeout,
    JobConflict,
    MissingExtra,
    ModelUnavailable,
    NotFound,
    QueueFull,
    Unreachable,
)

if TYPE_CHECKING:  # for editors; `__getattr__` loads the same names at run time
    from genfarm.accept import Accept
    from genfarm.farm import Farm
    from genfarm.item import Item
    from genfarm.job import Job
    from genfarm.result import Result
    from genfarm.stages import Best, Stage

_ROOMS = {
    "Accept": "accept",
    "Best": "stages",
    "Farm": "farm",
    "Item": "item",
    "Job": "job",
    "Result": "result",
    "Stage": "stages",
}

__all__ = [
    "Accept",
    "Best",
    "Farm",
    "GenfarmError",
    "InvalidSetting",
    "InvalidTask",
    "Item",
    "ItemCancelled",
    "ItemError",
    "ItemExpired",
    "ItemFailed",
    "ItemTimeout",
    "Job",
    "JobConflict",
    "MissingExtra",
    "ModelUnavailable",
    "NotFound",
    "QueueFull",
    "Result",
    "Stage",
    "Unreachable",
]


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'genfarm' has no attribute {name!r}")
    value = getattr(import_module(f"genfarm.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
