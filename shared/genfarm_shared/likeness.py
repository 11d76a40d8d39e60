"""How alike two pictures or two texts are, by the marks that each leaves.

A text's marks are its runs of three words (shingles: Broder 1997, "On the
resemblance and containment of documents"); a picture's are the edges between
the cells of a small grey copy (dHash: Krawetz 2013, "Kind of like that"), taken
with their sign and only where there is an edge, so that flat paper leaves no
marks that all pictures share. Alike is the share of marks in common (Jaccard).
Knows no job.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:  # Pillow is loaded by whoever has a picture
    from PIL.Image import Image

Key = TypeVar("Key", bound=Hashable)
Marks = frozenset[int]

#: Words of a shingle.
SHINGLE = 3
#: Cells of a picture's copy, across and down: twice as fine as dHash, for small drawings.
CELLS = 16
#: Grey levels of 255 between two cells that make an edge: above the noise of a sampler's paper.
EDGE = 8


def marks_of_text(text: str) -> Marks:
    """Its shingles; letter case, punctuation and spacing leave no marks."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    runs = [words[i : i + SHINGLE] for i in range(max(len(words) - SHINGLE + 1, 1))]
    return frozenset(_number(" ".join(run)) for run in runs)


def marks_of_picture(image: "Image") -> Marks:
    """Its edges."""
    from PIL.Image import Resampling

    grey = image.convert("L").resize((CELLS + 1, CELLS), Resampling.BOX).tobytes()
    marks = []
    for place in range(CELLS * (CELLS + 1)):
        if (place + 1) % (CELLS + 1):  # the last cell of a row has none to its right
            step = grey[place + 1] - grey[place]
            if abs(step) >= EDGE:
                marks.append(2 * place + (step > 0))
    return frozenset(marks)


def likeness(a: Marks, b: Marks) -> float:
    """From 0, nothing in common, to 1, the same marks; two things without marks are alike."""
    both = len(a & b)
    return both / (len(a) + len(b) - both) if a or b else 1.0


class Seen(Generic[Key]):
    """What was seen so far, to be asked for a thing at least so alike.

    Looks only at those that share one of a thing's first marks, in the order of their
    numbers: two sets of that likeness must (prefix filter: Bayardo, Ma and Srikant 2007,
    "Scaling up all pairs similarity search"). None is missed.
    """

    def __init__(self, at_least: float) -> None:
        if not 0 < at_least <= 1:
            raise ValueError(f"at_least={at_least!r}: expected a likeness above 0 and at most 1")
        self._at_least = at_least
        #: In the order in which they were seen.
        self._seen: list[tuple[Key, Marks]] = []
        self._by_mark: dict[int, list[int]] = {}
        #: Places of those without marks.
        self._bare: list[int] = []

    def find(self, marks: Marks) -> tuple[Key, float] | None:
        """The most alike of those that are alike enough, the earliest among equals."""
        found = [(likeness(marks, self._seen[place][1]), place) for place in self._near(marks)]
        best, place = max(found, key=lambda pair: (pair[0], -pair[1]), default=(0.0, 0))
        return (self._seen[place][0], best) if found and best >= self._at_least else None

    def add(self, key: Key, marks: Marks) -> None:
        """Remember a thing under its key."""
        place = len(self._seen)
        self._seen.append((key, marks))
        for mark in self._first(marks):
            self._by_mark.setdefault(mark, []).append(place)
        if not marks:
            self._bare.append(place)

    def _near(self, marks: Marks) -> set[int]:
        if not marks:
            return set(self._bare[:1])
        return {place for mark in self._first(marks) for place in self._by_mark.get(mark, ())}

    def _first(self, marks: Marks) -> list[int]:
        """So many that whoever shares none of them cannot be alike enough."""
        # 0.7 of 10 is a little more than 7 in floats, and rounding that up would miss some.
        number = len(marks) - math.ceil(self._at_least * len(marks) - 1e-9) + 1
        return sorted(marks)[:number]


def _number(words: str) -> int:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big")
