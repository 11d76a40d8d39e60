"""What a judging says: figures, each with what it was taken over and how it misleads.

Knows no measure; `pictures.py` and `texts.py` fill it in.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from genfarm_shared.figures import Figure


@dataclass(frozen=True, slots=True)
class Pair:
    """Two outputs that are alike."""

    first: str
    second: str
    #: Share of marks in common, see `genfarm_shared/likeness.py`.
    likeness: float
    #: Whether they are equal to the last pixel or letter.
    is_same: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that a judging found."""

    #: What was judged: `pictures` or `texts`.
    what: str
    #: How many.
    n: int
    figures: Sequence[Figure]
    #: The likest first.
    pairs: Sequence[Pair] = ()
    #: Of each label asked for: how many were asked, and of these recognised.
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: What was left out, and why.
    remarks: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """One output to be judged."""

    #: The task's custom_id, with a number behind it where the task has several outputs.
    name: str
    prompt: str
    #: A text, or None for a picture.
    text: str | None = None
    #: File of the picture.
    path: str | None = None
