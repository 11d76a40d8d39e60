"""`python -m tests.bench`: what recording costs, in parts and as a whole, and what a chain costs.

    python -m tests.bench bookkeeping   claim and commit in the store, each database
    python -m tests.bench recording     a farm that records against one that forgets
    python -m tests.bench chain         three stages against the slowest of them alone

Everything that people measure is `genfarm bench`; these look inside it.
Never asserts: a speed is a figure, not a test.
"""

import os
import sys

from rich.console import Console, Group

from genfarm.benchmark.words import tell_part
from tests import bench_bookkeeping, bench_chain, bench_recording


def main() -> None:
    """Run the parts named on the command line, or all."""
    parts = {
        "bookkeeping": bench_bookkeeping.measure,
        "recording": bench_recording.measure,
        "chain": bench_chain.measure,
    }
    for name in sys.argv[1:] or parts:
        sys.stdout.write(f"-- {name}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        for part in parts[name]():
            Console(width=120, highlight=False).print(Group(*tell_part(part)))


if __name__ == "__main__":
    main()
