"""Seeds that follow from other seeds: the same wherever and whenever they are worked out."""

import hashlib

#: Bits of a seed that was derived: readers of JSON that know only floats keep it exact.
SEED_BITS = 48


def derive_seed(*parts: object) -> int:
    """A seed for what those parts name, apart from that of any others."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)
