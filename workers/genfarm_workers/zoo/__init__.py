"""The starter models: which there are, and where the shipped weights of each lie.

Cheap to import: it knows no torch, and not how a model is trained or used. Of
each model there is a room, a module with

    PROSE                   what its card says in words (`cards.Prose`)
    DEFAULT_STEPS           of `train`
    train(plan)             writes weights and `training.json` into `plan.out`
    measure(directory)      a dataclass of figures, each with a telling name
    score(forward, directory)
                            optional: figures on held-out data, by name, of the engine's device
                            call in any precision (`engines/portable.py`)
    illustrate(directory)   where there are pictures beside the card to be drawn anew
    TAKES_DATA              True where `plan.data` may be a user's own and `plan.resume` works
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Models that ship with the farm and the rooms that train them, in the order in which they have
#: to be trained: whatever draws digits is measured by the judge, and the captions by the digits.
ROOMS = {
    "judge": "judge_room",
    "digits": "digits.room",
    "stories": "stories.room",
    "video": "video.room",
    "music": "music.room",
    "speech": "speech_room",
    "gan": "generators.gan_room",
    "dcgan": "generators.dcgan_room",
    "vae": "generators.vae_room",
    "digit-resnet": "digit_resnet.room",
    "captions": "captions.room",
    "code": "code.room",
    "sentiment": "sentiment.room",
    "sentences": "sentences.room",
}
NAMES = tuple(ROOMS)

#: In a checkout; else the package `genfarm-starters` has them.
_WEIGHTS = Path(__file__).parent / "weights"
_PACKAGE = "genfarm_starters"


def path(name: str) -> Path:
    """Directory of a shipped model's weights; a loader's ``from_pretrained`` takes it as it is."""
    if name not in ROOMS:
        raise KeyError(f"no starter model {name!r}; there are {', '.join(ROOMS)}")
    return _folder() / name


def _folder() -> Path:
    """Where the weights of all models lie."""
    if not _WEIGHTS.is_dir() and (spec := find_spec(_PACKAGE)) is not None:
        return Path(next(iter(spec.submodule_search_locations or ())))
    return _WEIGHTS


def room(name: str) -> Any:
    """The module that trains and measures the model."""
    return import_module(f"genfarm_workers.zoo.{ROOMS[name]}")
