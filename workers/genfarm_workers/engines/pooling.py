"""How a folder of sentence-transformers says that tokens become one vector, and doing it.

Such a folder holds, beside transformers' own files, `modules.json` with the steps behind the
model, and `1_Pooling/config.json`. A folder without them pools by the mean and does not
normalise. Knows no model and no tokenizer.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable

#: Ways that we know, by the names in the field.
WAYS = ("mean", "cls")


@dataclass(frozen=True, slots=True)
class Pooling:
    """A model's own way."""

    way: str = "mean"
    #: Whether vectors are scaled to length 1.
    is_normal: bool = False
    #: Where transformers' own files lie below the folder.
    model: str = ""
    #: Most tokens of a text, where the folder names a limit.
    most_tokens: int | None = None


def read_pooling(key: str, folder: Path) -> Pooling:
    """Raises ModelUnavailable for a folder with steps that we do not know."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return Pooling()
    try:
        steps = [(str(s["type"]).rpartition(".")[2], str(s["path"])) for s in _read(listed)]
        return _follow(key, folder, steps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(
            f"model {key!r}: {listed} or a file that it names is none of sentence-transformers "
            f"({type(error).__name__}: {error}). Save the model again, or remove modules.json "
            "to have its tokens averaged"
        ) from error


def pool(states: torch.Tensor, mask: torch.Tensor, way: str) -> torch.Tensor:
    """States (B, T, D) and mask (B, T) to vectors (B, D) in float32."""
    exact = states.float()
    if way == "cls":
        return exact[:, 0]
    weights = mask[:, :, None].float()
    return (exact * weights).sum(dim=1) / weights.sum(dim=1)


def _follow(key: str, folder: Path, steps: list[tuple[str, str]]) -> Pooling:
    names = [name for name, _ in steps]
    if names[:2] != ["Transformer", "Pooling"] or names[2:] not in ([], ["Normalize"]):
        raise ModelUnavailable(
            f"model {key!r}: {folder} has the steps {', '.join(names)}; expected Transformer, "
            "Pooling and at most Normalize behind them. Such a model cannot be served here"
        )
    model, pooling = steps[0][1], steps[1][1]
    limits = folder / model / "sentence_bert_config.json"
    most = _read(limits).get("max_seq_length") if limits.is_file() else None
    way = _way(key, _read(folder / pooling / "config.json"))
    return Pooling(way, "Normalize" in names, model, most)


def _way(key: str, config: dict[str, Any]) -> str:
    """Older folders have a switch for each way, newer ones name it."""
    switches = {
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, is_on in config.items()
        if name.startswith("pooling_mode_") and is_on
    }
    ways = sorted({str(config["pooling_mode"])} if "pooling_mode" in config else switches)
    if len(ways) != 1 or ways[0] not in WAYS:
        raise ModelUnavailable(
            f"model {key!r}: its tokens are pooled by {' and '.join(ways) or 'nothing'}; expected "
            f"one of {', '.join(WAYS)}. Such a model cannot be served here"
        )
    return ways[0]


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
