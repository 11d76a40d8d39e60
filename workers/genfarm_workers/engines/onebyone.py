"""What batching gains: stock calls, one task each, beside the farm's engines.

`python -m genfarm_workers.engines.onebyone` measures both arms on the starter
models in one process with one thread, in turns: a stock `generate` or pipeline
call a task, and an engine that holds a full batch. Knows nothing of the farm.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

from genfarm_workers.benchmark.bare import drive, make_claim
from genfarm_workers.benchmark.stock import stock_call
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines.registry import build

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_NEW_TOKENS = 64

#: Runs the task of that number.
Call = Callable[[int], object]


def alone(entry: ModelEntry, params: Callable[[int], dict[str, object]]) -> Call:
    """The stock call, a task at a time."""
    call = stock_call(entry)
    return lambda number: call([params(number)])


def batched(entry: ModelEntry, params: Callable[[int], dict[str, object]]) -> Call:
    """The farm's engine, a full batch a call; the number is the batch's."""
    engine = build(entry, "cpu")
    engine.load()

    def call(number: int) -> None:
        first = number * entry.slots
        tasks = range(first, first + entry.slots)
        drive(engine, [make_claim(entry, index, params(index)) for index in tasks])

    return call


def compare(single: Call, batch: Call, slots: int, rounds: int) -> tuple[float, float]:
    """Median seconds a task takes alone and in a full batch, measured in turns."""
    single(0), batch(0)  # warm
    seconds: dict[str, list[float]] = {"alone": [], "batch": []}
    for number in range(1, rounds + 1):
        for name, call in (("alone", single), ("batch", batch)):
            began = time.perf_counter()
            call(number)
            seconds[name].append(time.perf_counter() - began)
    return statistics.median(seconds["alone"]), statistics.median(seconds["batch"]) / slots


def _text(index: int) -> dict[str, object]:
    return {"prompt": "Once upon a time", "max_new_tokens": MAX_NEW_TOKENS, "seed": index}


def _picture(index: int) -> dict[str, object]:
    return {"prompt": f"a handwritten {NUMBERS[index % 10]}", "seed": index}


def main() -> None:
    """Print seconds a task, alone and batched, as one JSON object."""
    import diffusers
    import torch
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each arm")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    diffusers.logging.set_verbosity_error()
    catalog = read_catalog()
    stories, digits = catalog["stories"], catalog["digits"]
    text = compare(alone(stories, _text), batched(stories, _text), stories.slots, rounds)
    image = compare(alone(digits, _picture), batched(digits, _picture), digits.slots, rounds)
    found = {
        "text_seconds": text[0],
        "text_batched_seconds": text[1],
        "image_seconds": image[0],
        "image_batched_seconds": image[1],
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
