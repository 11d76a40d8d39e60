"""The starter models: which there are, and where the shipped weights of each lie.

Cheap to import: it knows no torch, and not how a model is trained or used.
"""

from pathlib import Path

#: Models that ship with the farm, in the order in which they have to be trained:
#: the digits are measured by the judge.
NAMES = ("judge", "digits", "stories")

_WEIGHTS = Path(__file__).parent / "weights"


def path(name: str) -> Path:
    """Directory of a shipped model's weights; a loader's ``from_pretrained`` takes it as it is."""
    if name not in NAMES:
        raise KeyError(f"no starter model {name!r}; there are {', '.join(NAMES)}")
    return _WEIGHTS / name
