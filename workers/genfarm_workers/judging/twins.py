"""Outputs that are there twice, or nearly: pairs of equal content, and pairs that look alike.

Content is pixels or letters: files of equal pixels may carry notes of their own.
"""

import hashlib
from collections.abc import Sequence

from genfarm_shared.figures import Figure
from genfarm_shared.likeness import Marks, Seen
from genfarm_workers.judging.figures import Pair

#: Likeness from which two outputs count as nearly the same. Of 200 digits that the starter model
#: drew, no two of other seeds were above 0.79, and every JPEG copy of one was above 0.92.
ALIKE = 0.9
_NOTE = (
    "share of outputs that repeat an earlier one, {how}; grows with n, as there is more to repeat"
)


def find_twins(
    names: Sequence[str], contents: Sequence[bytes], marks: Sequence[Marks]
) -> list[Pair]:
    """Each output with the likest of those before it, where that is alike; the likest first."""
    seen, digests = Seen[int](ALIKE), dict[bytes, int]()
    pairs = []
    for place, (content, mark) in enumerate(zip(contents, marks, strict=True)):
        digest = hashlib.sha256(content).digest()
        if digest in digests:
            pairs.append(Pair(names[digests[digest]], names[place], 1.0, is_same=True))
            continue
        digests[digest] = place
        found = seen.find(mark)
        if found is not None:
            pairs.append(Pair(names[found[0]], names[place], found[1], is_same=False))
        seen.add(place, mark)
    return sorted(pairs, key=lambda pair: (not pair.is_same, -pair.likeness))


def count_twins(pairs: Sequence[Pair], n: int) -> list[Figure]:
    """The two shares that the pairs make."""
    same = sum(pair.is_same for pair in pairs)
    return [
        Figure(
            "exact duplicates",
            same / n,
            None,
            n,
            _NOTE.format(how="to the last pixel or letter"),
            "less",
        ),
        Figure(
            "near-duplicates",
            (len(pairs) - same) / n,
            None,
            n,
            _NOTE.format(how=f"{ALIKE:.0%} of its marks or more"),
            "less",
        ),
    ]
