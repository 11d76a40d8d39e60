"""What the farm is compared with: stock calls, one task each, in one process.

`python -m genfarm_workers.engines.onebyone` measures on a sample how
long a task takes when nothing is batched: `generate` for a text, the pipeline
for a picture, models resident and warm. Knows nothing of the farm.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines.weights import find_weights

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PROMPT = "Once upon a time"


def time_texts(entry: ModelEntry, number: int, max_new_tokens: int) -> float:
    """Median seconds of one stock sampled `generate` call."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_weights(entry)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    inputs = tokenizer(PROMPT, return_tensors="pt")

    def call(index: int) -> None:
        torch.manual_seed(index)
        model.generate(**inputs, max_new_tokens=max_new_tokens, max_length=None, do_sample=True)

    with torch.inference_mode():
        return _median(call, number)


def time_pictures(entry: ModelEntry, number: int) -> float:
    """Median seconds of one stock pipeline call for one picture."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(find_weights(entry), use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    width, height = entry.limits["size"]

    def call(index: int) -> None:
        pipeline(
            f"a handwritten {NUMBERS[index % 10]}",
            num_inference_steps=entry.limits["steps"],
            guidance_scale=entry.limits["guidance_scale"],
            width=width,
            height=height,
            generator=torch.Generator().manual_seed(index),
        )

    return _median(call, number)


def _median(call: Callable[[int], None], number: int) -> float:
    call(0)  # warm
    seconds = []
    for index in range(number):
        began = time.perf_counter()
        call(index)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print seconds per task as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10, help="texts to time")
    parser.add_argument("--images", type=int, default=10, help="pictures to time")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    chosen = parser.parse_args()
    catalog = read_catalog()
    found = {
        "text_seconds": time_texts(catalog["stories"], chosen.texts, chosen.max_new_tokens),
        "image_seconds": time_pictures(catalog["digits"], chosen.images),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
