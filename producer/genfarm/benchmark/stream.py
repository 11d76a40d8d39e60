"""What a producer of very many inputs holds: one job from a generator, in a process of its own.

A program that `publish` starts: memory that an earlier measurement left free
would hide what this one takes.
"""

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Iterator

import psutil

from genfarm import Farm

#: Inputs after which everything is loaded and every cache is full.
WARM_UP = 5_000
#: Inputs between two looks.
LOOK = 2_000


def main() -> None:
    """Submit the inputs; print their rate and the growth of memory, in MB, as JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("store")
    asked.add_argument("broker")
    asked.add_argument("number", type=int)
    asked.add_argument("--ids", action="store_true", help="give every input a custom_id")
    asked.add_argument("--trace", action="store_true", help="trace Python's own allocations")
    given = asked.parse_args()
    with Farm(given.store, given.broker, progress=False) as farm:
        farm.submit_many("text-generation", inputs(WARM_UP, [], is_named=given.ids))
        gc.collect()
        if given.trace:
            tracemalloc.start()
        before, sizes, began = _rss_mb(), list[float](), time.perf_counter()
        farm.submit_many("text-generation", inputs(given.number, sizes, is_named=given.ids))
        rate = given.number / (time.perf_counter() - began)
    traced = tracemalloc.get_traced_memory()[1] / 2**20 if given.trace else None
    found = {"rate": rate, "growth_mb": max(sizes) - before, "traced_mb": traced}
    json.dump(found, sys.stdout)


def inputs(number: int, sizes: list[float], *, is_named: bool) -> Iterator[object]:
    """Ordinary prompts; notes into `sizes` how big the process is meanwhile."""
    for place in range(number):
        if place % LOOK == 0:
            sizes.append(_rss_mb())
        prompt = f"Once upon a time there was a fox who could count to {place}"
        yield {"prompt": prompt, "custom_id": f"fox-{place}"} if is_named else prompt


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
