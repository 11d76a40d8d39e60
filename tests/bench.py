"""`make bench`: what the farm costs, each figure beside another of the same run.

    python -m tests.bench bookkeeping   claim and commit in the store, each database
    python -m tests.bench recording     a farm that records against one that forgets

Prints medians, interleaved so that all arms see the same machine. Never
asserts: a speed is a figure, not a test.
"""

import os
import sys

from tests import bench_bookkeeping, bench_recording


def main() -> None:
    """Run the parts named on the command line, or all."""
    parts = {"bookkeeping": bench_bookkeeping.main}
    parts["recording"] = bench_recording.main
    for name in sys.argv[1:] or parts:
        sys.stdout.write(f"-- {name}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        parts[name]()


if __name__ == "__main__":
    main()
