"""Loads a causal language model with its tokenizer and answers what they are.

Knows files, precision and special tokens; draws no token and holds no task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.quicken import quicken
from genfarm_workers.engines.weights import choose_dtype, find_weights, quiet_libraries

#: Tokens of context for a model whose configuration names no limit.
_CONTEXT_UNKNOWN = 2048
#: Names under which configurations give the longest context.
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


@dataclass(frozen=True, slots=True)
class Language:
    """A loaded model, ready to run."""

    key: str
    model: Any
    tokenizer: Any
    device: str
    #: Tokens of prompt and continuation together.
    context: int
    eos_ids: frozenset[int]
    #: What an empty prompt starts from; None when the tokenizer has no such token.
    start_id: int | None

    @property
    def body(self) -> Any:
        """The model without its head, where it has such a part: logits cost a prompt nothing."""
        return self.model.base_model

    def encode(self, prompt: str) -> list[int]:
        """Token ids of the prompt, empty for one that holds no token and has no start."""
        ids: list[int] = self.tokenizer(prompt)["input_ids"]
        if not ids and self.start_id is not None:
            return [self.start_id]
        return ids


def load_language(entry: ModelEntry, device: str) -> Language:
    """Raises ModelUnavailable, saying what is missing."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_weights(entry)
    quiet_libraries()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=choose_dtype(entry, device), use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is not a causal language model that transformers can "
            f"load ({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    model = quicken(model.to(device).eval())
    if entry.limits.get("compile"):
        # Shapes come in steps, so that few are compiled; the first call of each waits for it.
        model.compile(dynamic=False)
    return Language(
        key=entry.key,
        model=model,
        tokenizer=tokenizer,
        device=device,
        context=context_of(entry, model.config),
        eos_ids=eos_ids_of(model, tokenizer),
        start_id=_first(tokenizer.bos_token_id, tokenizer.eos_token_id),
    )


def context_of(entry: ModelEntry, config: Any) -> int:
    named = [getattr(config.get_text_config(), name, None) for name in _CONTEXT_NAMES]
    own = next((size for size in named if isinstance(size, int)), _CONTEXT_UNKNOWN)
    return min(own, int(entry.limits.get("context", own)))


def eos_ids_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """The generation configuration may name several; the tokenizer's own is the fallback."""
    named = _first(model.generation_config.eos_token_id, tokenizer.eos_token_id)
    if named is None:
        return frozenset()
    return frozenset([named] if isinstance(named, int) else named)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def pad_ids(ids: Sequence[int], width: int, *, left: bool = False) -> list[int]:
    """The ids with zeros up to `width`; masked, so that any token would do."""
    padding = [0] * (width - len(ids))
    return [*padding, *ids] if left else [*ids, *padding]


def tensor_of(rows: Sequence[Sequence[int]], device: str) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.long, device=device)
