"""Which custom_ids were given so far, and where each was, in 20 to 40 bytes an id.

A table with open addresses (linear probing) of 64-bit hashes, keyed anew in
every process so that nobody can choose ids that collide: that two of a million
are taken for the same has a chance of three in a hundred million. A dict holds
five times as much. Knows no store.
"""

from array import array

#: Slots to begin with; a power of two, as every size after it.
SLOTS = 1024
_BITS = 2**64 - 1


class Taken:
    """Words and the places where they were first seen."""

    def __init__(self) -> None:
        self._room(SLOTS)
        self._number = 0

    def __len__(self) -> int:
        return self._number

    @property
    def nbytes(self) -> int:
        """What all of it takes."""
        return len(self._hashes) * (self._hashes.itemsize + self._places.itemsize)

    def find(self, word: str) -> int | None:
        """Where that word was, None where it was not."""
        slot = self._slot(hash(word) & _BITS or 1)
        return self._places[slot] if self._hashes[slot] else None

    def put(self, word: str, place: int) -> int | None:
        """Note where a word is. Returns where it was before, and then notes nothing."""
        found = hash(word) & _BITS or 1
        slot = self._slot(found)
        if self._hashes[slot]:
            return self._places[slot]
        self._hashes[slot], self._places[slot] = found, place
        self._number += 1
        if self._number * 8 > len(self._hashes) * 5:
            self._grow()
        return None

    def _room(self, slots: int) -> None:
        # Zero is an empty slot.
        self._hashes = array("Q", [0]) * slots
        self._places = array("I", [0]) * slots

    def _slot(self, found: int) -> int:
        """The slot of that hash, or the empty one where it would go."""
        hashes, last = self._hashes, len(self._hashes) - 1
        slot = found & last
        while (seen := hashes[slot]) and seen != found:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        before = zip(self._hashes, self._places, strict=True)
        self._room(2 * len(self._hashes))
        for found, place in before:
            if found:
                slot = self._slot(found)
                self._hashes[slot], self._places[slot] = found, place
