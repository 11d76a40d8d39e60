"""Loads a causal language model with its tokenizer and answers what they are.

Knows files, precision and special tokens; draws no token and holds no task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import MissingExtra, ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.exported import StandIn, stand_in
from genfarm_workers.engines.loading import load_whole
from genfarm_workers.engines.portable import is_export
from genfarm_workers.engines.precision import load_dtype, lowered
from genfarm_workers.engines.quicken import quicken
from genfarm_workers.engines.transfer import to_device
from genfarm_workers.engines.weights import find_weights, quiet_libraries

_OPTIONS = {"local_files_only": True, "trust_remote_code": False}
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
    from transformers import AutoTokenizer

    folder = find_weights(entry)
    quiet_libraries()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **_OPTIONS)
        model = (stand_in if is_export(folder) else _native)(entry, folder, device)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, MissingExtra):
            raise
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is not a causal language model that transformers can "
            f"load ({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    generation = (
        _generation(folder, model.config) if isinstance(model, StandIn) else model.generation_config
    )
    return Language(
        key=entry.key,
        model=model,
        tokenizer=tokenizer,
        device=device,
        context=context_of(entry, model.config),
        eos_ids=eos_ids_of(generation, tokenizer),
        start_id=_first(tokenizer.bos_token_id, tokenizer.eos_token_id),
    )


def _native(entry: ModelEntry, folder: Path, device: str) -> Any:
    from transformers import AutoModelForCausalLM

    model = load_whole(entry.key, AutoModelForCausalLM, folder, load_dtype(entry, device))
    model = quicken(lowered(model, entry).to(device).eval())
    if entry.limits.get("compile"):
        # Shapes come in steps, so that few are compiled; the first call of each waits for it.
        model.compile(dynamic=False)
    return model


def context_of(entry: ModelEntry, config: Any) -> int:
    named = [getattr(config.get_text_config(), name, None) for name in _CONTEXT_NAMES]
    own = next((size for size in named if isinstance(size, int)), _CONTEXT_UNKNOWN)
    return min(own, int(entry.limits.get("context", own)))


def eos_ids_of(generation: Any, tokenizer: Any) -> frozenset[int]:
    """The generation configuration may name several; the tokenizer's own is the fallback."""
    named = _first(generation.eos_token_id, tokenizer.eos_token_id)
    if named is None:
        return frozenset()
    return frozenset([named] if isinstance(named, int) else named)


def _generation(folder: Path, config: Any) -> Any:
    from transformers import GenerationConfig

    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(config)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def pad_ids(ids: Sequence[int], width: int, *, left: bool = False) -> list[int]:
    """The ids with zeros up to `width`; masked, so that any token would do."""
    padding = [0] * (width - len(ids))
    return [*padding, *ids] if left else [*ids, *padding]


def tensor_of(rows: Sequence[Sequence[int]], device: str) -> torch.Tensor:
    return to_device(torch.tensor(rows, dtype=torch.long), device)
