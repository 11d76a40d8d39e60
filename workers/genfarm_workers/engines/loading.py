"""Opens a model and what makes its inputs by transformers' Auto classes, from local files alone.

Knows neither texts nor pictures.
"""

from pathlib import Path
from typing import Any

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.weights import choose_dtype, quiet_libraries


def load_both(
    entry: ModelEntry, device: str, folder: Path, tool: Any, auto: Any, **told: Any
) -> tuple[Any, Any]:
    """The tokenizer or processor of class `tool`, told `told`, and the model of class `auto`.

    Raises ModelUnavailable, saying what is missing.
    """
    quiet_libraries()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        made = tool.from_pretrained(folder, **told, **options)
        model = auto.from_pretrained(
            folder, dtype=choose_dtype(entry, device), use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is nothing that {auto.__name__} can load "
            f"({type(error).__name__}: {error}). Correct source or engine in models.toml"
        ) from error
    return made, model.to(device).eval()
