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

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines import Engine
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.weights import find_weights

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_NEW_TOKENS = 64

#: Runs the task of that number.
Call = Callable[[int], object]


def stock_text(entry: ModelEntry) -> Call:
    """transformers' own sampled `generate`, one prompt a call."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_weights(entry)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    inputs = tokenizer("Once upon a time", return_tensors="pt")
    options = {"max_new_tokens": MAX_NEW_TOKENS, "max_length": None, "temperature": 1.0}

    def call(index: int) -> None:
        torch.manual_seed(index)
        with torch.inference_mode():
            model.generate(**inputs, **options, do_sample=True)

    return call


def stock_picture(entry: ModelEntry) -> Call:
    """diffusers' own pipeline, one picture a call."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(find_weights(entry), use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    width, height = entry.limits["size"]

    def call(index: int) -> None:
        pipeline(
            _picture(index)["prompt"],
            num_inference_steps=entry.limits["steps"],
            guidance_scale=entry.limits["guidance_scale"],
            width=width,
            height=height,
            generator=torch.Generator().manual_seed(index),
        )

    return call


def batched(entry: ModelEntry, params: Callable[[int], dict[str, object]]) -> Call:
    """The farm's engine, a full batch a call; the number is the batch's."""
    engine = build(entry, "cpu")
    engine.load()

    def call(number: int) -> None:
        first = number * entry.slots
        claims = [_claim(entry, i, params(i)) for i in range(first, first + entry.slots)]
        engine.admit(claims)
        _finish(engine, len(claims))

    return call


def compare(alone: Call, batch: Call, slots: int, rounds: int) -> tuple[float, float]:
    """Median seconds a task takes alone and in a full batch, measured in turns."""
    alone(0), batch(0)  # warm
    seconds: dict[str, list[float]] = {"alone": [], "batch": []}
    for number in range(1, rounds + 1):
        for name, call in (("alone", alone), ("batch", batch)):
            began = time.perf_counter()
            call(number)
            seconds[name].append(time.perf_counter() - began)
    return statistics.median(seconds["alone"]), statistics.median(seconds["batch"]) / slots


def _finish(engine: Engine, tasks: int) -> None:
    while tasks:
        tasks -= len(engine.step(time.monotonic()))


def _claim(entry: ModelEntry, index: int, params: dict[str, object]) -> Claim:
    checked = check_params(find_kind(entry.kind), params)
    key = batch_key(entry.key, checked)
    values = checked.model_dump()
    return Claim(f"t{index}", "", 1, entry.kind, entry.key, key, 1, values, index)


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
    text = compare(stock_text(stories), batched(stories, _text), stories.slots, rounds)
    image = compare(stock_picture(digits), batched(digits, _picture), digits.slots, rounds)
    found = {
        "text_seconds": text[0],
        "text_batched_seconds": text[1],
        "image_seconds": image[0],
        "image_batched_seconds": image[1],
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
