"""What others do with text requests: one `generate` at a time, static batches, and
transformers' continuous batching. All greedy, and each writes every token asked for.

Knows nothing of our engines.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from genfarm_workers.benchmark.requests import Request

#: Tokens per page of the peer's cache, and in one of its batches: its own defaults on a CPU
#: take 60 % of the machine's memory.
_PAGE, _BATCH_TOKENS = 32, 512


def sequential(model: Any, requests: Sequence[Request]) -> int:
    """One `generate` per request; the tokens written."""
    return sum(_generate(model, [request]) for request in requests)


def static(model: Any, requests: Sequence[Request], size: int, *, is_sorted: bool) -> int:
    """Left-padded batches of `size`, each until its longest row ends; the tokens asked for."""
    if is_sorted:
        requests = sorted(requests, key=lambda request: (request.new_tokens, len(request.ids)))
    return sum(_generate(model, batch) for batch in _batches(requests, size))


def continuous(model: Any, requests: Sequence[Request], size: int) -> int:
    """transformers' own engine, `size` requests at once; the tokens written."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    longest = max(len(request.ids) + request.new_tokens for request in requests)
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=_PAGE,
            num_blocks=size * -(-longest // _PAGE) + 8,
            max_batch_tokens=_BATCH_TOKENS,
            max_requests_per_batch=size,
        ),
    )
    manager.start()
    try:
        for place, request in enumerate(requests):
            manager.add_request(
                list(request.ids), str(place), max_new_tokens=request.new_tokens, eos_token_id=-1
            )
        found = [manager.get_result(timeout=600) for _ in requests]
    finally:
        manager.stop(block=True)
    return sum(len(result.generated_tokens) for result in found)


@torch.inference_mode()
def _generate(model: Any, batch: Sequence[Request]) -> int:
    width = max(len(request.ids) for request in batch)
    rows = [[0] * (width - len(request.ids)) + list(request.ids) for request in batch]
    masks = [[0] * (width - len(request.ids)) + [1] * len(request.ids) for request in batch]
    model.generate(
        torch.tensor(rows),
        attention_mask=torch.tensor(masks),
        do_sample=False,
        max_new_tokens=max(request.new_tokens for request in batch),
        pad_token_id=0,
    )
    return sum(request.new_tokens for request in batch)


def _batches(requests: Sequence[Request], size: int) -> Iterator[Sequence[Request]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]
