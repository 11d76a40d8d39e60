"""How a folder of sentence-transformers says that tokens become one vector, and doing it.

Such a folder holds, beside transformers' own files, `modules.json` with the steps behind the
model, and `1_Pooling/config.json`. A folder without them pools by the mean and does not
normalise. Knows no model and no tokenizer.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable

logger = logging.getLogger(__name__)

#: Ways that we know, by the names in the field.
WAYS = ("mean", "cls")
#: Steps that we know, by all of their type's name: a class of another place may compute
#: something else. Up to release 5.3, and from 5.4 on.
_STEPS = {
    "sentence_transformers.models.Transformer": "Transformer",
    "sentence_transformers.models.Pooling": "Pooling",
    "sentence_transformers.models.Normalize": "Normalize",
    "sentence_transformers.base.modules.transformer.Transformer": "Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling": "Pooling",
    "sentence_transformers.sentence_transformer.modules.normalize.Normalize": "Normalize",
}
#: What a Transformer step does where its file names nothing.
_TASK = "feature-extraction"


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
    #: Whether texts are read in small letters.
    is_lowering: bool = False


def read_pooling(key: str, folder: Path) -> Pooling:
    """Raises ModelUnavailable for a folder with steps that we do not know."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return Pooling()
    try:
        steps = [
            (_STEPS.get(str(step["type"]), str(step["type"])), _below(str(step["path"])))
            for step in _read(listed)
        ]
        _check_prompts(key, folder)
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
    # Named by the family: sentence_bert_config.json, sentence_roberta_config.json, ...
    told = sorted((folder / model).glob("sentence_*_config.json"))
    own = _read(told[0]) if told else {}
    task = own.get("transformer_task", _TASK)
    if task != _TASK:
        raise ModelUnavailable(
            f"model {key!r}: {told[0]} has transformer_task {task!r}; expected {_TASK!r}. Such a "
            "model cannot be served here"
        )
    way = _way(key, _read(folder / pooling / "config.json"))
    is_lowering = bool(own.get("do_lower_case"))
    return Pooling(way, "Normalize" in names, model, own.get("max_seq_length"), is_lowering)


def _below(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"path {path!r} leaves the folder")
    return path


def _check_prompts(key: str, folder: Path) -> None:
    """A text is embedded as it is: what would be put before it is the client's to write."""
    file = folder / "config_sentence_transformers.json"
    own = _read(file) if file.is_file() else {}
    prompts = {name: said for name, said in (own.get("prompts") or {}).items() if said}
    default = own.get("default_prompt_name")
    if default is not None and default in prompts:
        raise ModelUnavailable(
            f"model {key!r}: {file} puts its prompt {default!r} before every text, which is not "
            "done here. Write that prompt into your texts and set default_prompt_name to null"
        )
    if prompts:
        logger.warning(
            "model %s names prompts (%s) for some uses; texts are embedded as they are, so write "
            "the one you need before yours",
            key,
            ", ".join(sorted(prompts)),
        )


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
