"""Measures the story teller against xz on stories whose sentences it has never seen."""

import lzma
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_workers.zoo.stories.grammar import write_stories

#: Token ids (B, T) to logits (B, T, V).
Forward = Callable[[torch.Tensor], torch.Tensor]

_HELD_OUT_STORIES = 200
#: Of them, how many compare precisions: a difference is steadier than its two sides.
_SCORED = 60
_HELD_OUT_SEED = 2
_BATCH = 20
_PROMPTS = ("Once upon a time", "The old captain", "One rainy morning", "Every evening,", "Rosa")
_SAMPLE_SEED = 7


@dataclass(frozen=True, slots=True)
class StoriesMetrics:
    """How well the model predicts held-out stories, and what it writes."""

    #: Stories held out; none of their sentences occurs in the corpus.
    stories: int
    #: Their size, one story a line.
    held_out_bytes: int
    #: Bits the model needs per byte, ends of stories included.
    bits_per_byte: float
    #: Bits ``xz -9`` needs per byte of the same bytes.
    xz_bits_per_byte: float
    #: One continuation per opening, as generated.
    samples: list[str]


def measure_stories(directory: Path, count: int = _HELD_OUT_STORIES) -> StoriesMetrics:
    """Bits per byte on ``count`` held-out stories, xz on the same, and five samples."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    text = _held_out_text(count)
    return StoriesMetrics(
        stories=count,
        held_out_bytes=len(text),
        bits_per_byte=_bits_per_byte(lambda ids: model(input_ids=ids).logits, tokenizer, count),
        xz_bits_per_byte=8 * len(lzma.compress(text, preset=9)) / len(text),
        samples=continue_prompts(model, tokenizer, _PROMPTS),
    )


def score_stories(forward: Forward, directory: Path, count: int = _SCORED) -> dict[str, float]:
    """Bits per byte on ``count`` held-out stories, of whatever turns token ids into logits."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    return {"bits_per_byte": _bits_per_byte(forward, tokenizer, count)}


@torch.inference_mode()
def continue_prompts(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """Each prompt with its sampled continuation; deterministic."""
    torch.manual_seed(_SAMPLE_SEED)
    samples = []
    for prompt in prompts:
        written = model.generate(**tokenizer(prompt, return_tensors="pt"))
        samples.append(tokenizer.decode(written[0], skip_special_tokens=True))
    return samples


def _held_out(count: int) -> list[str]:
    return list(write_stories(count, seed=_HELD_OUT_SEED, held_out=True))


def _held_out_text(count: int) -> bytes:
    return "".join(story + "\n" for story in _held_out(count)).encode()


def _bits_per_byte(forward: Forward, tokenizer: Any, count: int) -> float:
    stories = _held_out(count)
    starts = range(0, count, _BATCH)
    bits = sum(_bits(forward, tokenizer, stories[start : start + _BATCH]) for start in starts)
    return bits / len(_held_out_text(count))


@torch.inference_mode()
def _bits(forward: Forward, tokenizer: Any, stories: list[str]) -> float:
    """Bits of whole stories, first token and end of text included."""
    framed = [tokenizer.bos_token + story + tokenizer.eos_token for story in stories]
    # Padded on the right here: positions then count from the story's start, as in training, and
    # no token of a story sees the padding.
    batch = tokenizer(framed, return_tensors="pt", padding=True, padding_side="right")
    logits = forward(batch.input_ids)[:, :-1].float().log_softmax(dim=-1)
    chosen = logits.gather(2, batch.input_ids[:, 1:, None])[:, :, 0]
    nats = -(chosen * batch.attention_mask[:, 1:]).sum()
    return float(nats) / math.log(2)
