"""Stock calls of transformers and diffusers on a registry's model: what people write first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.weights import find_weights

Params = Mapping[str, Any]
#: Outputs of tasks that are run together, in their order.
StockCall = Callable[[Sequence[Params]], list[dict[str, Any]]]


def stock_call(entry: ModelEntry, device: str = "cpu") -> StockCall:
    """The stock way to run that entry, loaded: by text or by picture."""
    return stock_text(entry, device) if entry.engine == "text" else stock_picture(entry, device)


def stock_text(entry: ModelEntry, device: str = "cpu") -> StockCall:
    """One sampled `generate` call, padded on the left where there are several prompts.

    It has one seed for all of them, that of the first.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_weights(entry)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = _dtype(entry, device)
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=dtype)
    model = model.to(device).eval()

    def call(tasks: Sequence[Params]) -> list[dict[str, Any]]:
        inputs = tokenizer([p["prompt"] for p in tasks], return_tensors="pt", padding=True)
        torch.manual_seed(tasks[0]["seed"])
        most = max(p["max_new_tokens"] for p in tasks)
        options = {"max_new_tokens": most, "max_length": None, "temperature": 1.0}
        with torch.inference_mode():
            rows = model.generate(**inputs.to(device), **options, do_sample=True)
        width = inputs["input_ids"].shape[1]
        texts = tokenizer.batch_decode(rows[:, width:], skip_special_tokens=True)
        return [{"text": text} for text in texts]

    return call


def stock_picture(entry: ModelEntry, device: str = "cpu") -> StockCall:
    """One pipeline call, with the steps and guidance of its first prompt for all."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(
        find_weights(entry), use_safetensors=True, torch_dtype=_dtype(entry, device)
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    limits = entry.limits

    def call(tasks: Sequence[Params]) -> list[dict[str, Any]]:
        first = tasks[0]
        width, height = first.get("size") or limits["size"]
        guidance = first.get("guidance_scale")
        generators = [torch.Generator().manual_seed(p["seed"]) for p in tasks]
        found = pipeline(
            [p["prompt"] for p in tasks],
            num_inference_steps=first.get("steps") or limits["steps"],
            guidance_scale=limits["guidance_scale"] if guidance is None else guidance,
            width=width,
            height=height,
            generator=generators,
        )
        return [{"size": list(image.size)} for image in found.images]

    return call


def _dtype(entry: ModelEntry, device: str) -> Any:
    import torch

    auto = "float32" if device == "cpu" else "bfloat16"
    return getattr(torch, auto if entry.dtype == "auto" else entry.dtype)
