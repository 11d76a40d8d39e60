"""Loads a transformers model and sees that its files hold all of it.

What files leave out transformers fills with random numbers, and only warns: the head of a model
that has none, or a layer of another size. Knows no engine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import MissingExtra, ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.exported import stand_in
from genfarm_workers.engines.portable import is_export
from genfarm_workers.engines.precision import load_dtype, lowered
from genfarm_workers.engines.weights import find_weights, quiet_libraries

#: How many of the missing weights a message names.
_NAMED = 3


def load_whole(
    key: str, model_class: Any, folder: Path, dtype: torch.dtype, unused: tuple[str, ...] = ()
) -> Any:
    """The model of `key`, on the CPU, by an Auto class or a model's own.

    `unused` names modules that its engine does not ask, whose weights may be missing. Raises
    ModelUnavailable for missing weights, and what `from_pretrained` raises.
    """
    model, info = model_class.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        # Reported below; transformers' own error is a RuntimeError, like one of memory.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    # Buffers that are missing are not random: a model computes them as it is built.
    needed = {name for name, _ in model.named_parameters()}
    missing = {name for name in info["missing_keys"] if name in needed}
    missing = {name for name in missing if not set(name.split(".")) & set(unused)}
    wrong = sorted(missing | {name for name, *_ in info["mismatched_keys"]})
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ModelUnavailable(
            f"model {key!r}: {folder} lacks weights of {type(model).__name__}, or holds them in "
            f"another size: {', '.join(wrong[:_NAMED])}{more}. They would be random. Correct "
            "source, kind or engine in models.toml"
        )
    return model


@dataclass(frozen=True, slots=True)
class Files:
    """Where a model is loaded from, and to."""

    entry: ModelEntry
    device: str
    #: Folder of transformers' files within the model's.
    below: str = ""
    #: See `load_whole`.
    unused: tuple[str, ...] = ()


def load_both(files: Files, tool: Any, auto: Any, **told: Any) -> tuple[Any, Any]:
    """The tokenizer or processor of class `tool`, told `told`; and the model of class `auto`, in
    its precision and on its device, or the StandIn of an exported file.

    Raises ModelUnavailable, saying what is missing.
    """
    quiet_libraries()
    entry, folder = files.entry, find_weights(files.entry)
    place = folder / files.below
    try:
        made = tool.from_pretrained(place, local_files_only=True, trust_remote_code=False, **told)
        if is_export(folder):
            return made, stand_in(entry, folder, files.device, files.below)
        dtype = load_dtype(entry, files.device)
        model = load_whole(entry.key, auto, place, dtype, files.unused)
        return made, lowered(model, entry).to(files.device).eval()
    except (OSError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, MissingExtra):
            raise
        raise ModelUnavailable(
            f"model {entry.key!r}: {place} is nothing that {auto.__name__} can load "
            f"({type(error).__name__}: {error}). Correct source or engine in models.toml"
        ) from error
