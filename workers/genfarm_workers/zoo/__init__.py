"""The starter models: which there are, and where the shipped weights of each lie.

Cheap to import: it knows no torch, and not how a model is trained or used. Of
each model there is a room, a module with

    PROSE                   what its card says in words (`cards.Prose`)
    DEFAULT_STEPS           of `train`
    train(plan)             writes weights and `training.json` into `plan.out`
    measure(directory)      a dataclass of figures, each with a telling name
"""

from importlib import import_module
from pathlib import Path
from typing import Any

#: Models that ship with the farm and the rooms that train them, in the order in which they have
#: to be trained: the digits are measured by the judge.
ROOMS = {
    "judge": "judge_room",
    "digits": "digits.room",
    "stories": "stories.room",
    "video": "video.room",
    "music": "music.room",
    "speech": "speech_room",
}
NAMES = tuple(ROOMS)

_WEIGHTS = Path(__file__).parent / "weights"


def path(name: str) -> Path:
    """Directory of a shipped model's weights; a loader's ``from_pretrained`` takes it as it is."""
    if name not in ROOMS:
        raise KeyError(f"no starter model {name!r}; there are {', '.join(ROOMS)}")
    return _WEIGHTS / name


def room(name: str) -> Any:
    """The module that trains and measures the model."""
    return import_module(f"genfarm_workers.zoo.{ROOMS[name]}")
