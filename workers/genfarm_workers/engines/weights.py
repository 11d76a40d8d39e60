"""Where a model's files are on this machine, and the precision they are loaded in.

Looks in the local cache before it asks the hub, and lets only safetensors
through: pickled weights can run code. Files that were pinned must be as they
were. Loads no model itself.

    python -m genfarm_workers.engines.weights KEY    pins a model, prints its registry line
"""

import importlib
import re
from pathlib import Path

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import manifest
from genfarm_workers.engines.blocks import head
from genfarm_workers.engines.portable import is_export

#: Seconds the hub may take to answer before it counts as unreachable.
HUB_TIMEOUT_SECONDS = 5.0
#: What is downloaded: configuration, tokenizer and safetensors, never pickles or code.
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
#: Other precisions and packings of the same weights.
HUB_DOUBLES = ["*.fp16.*", "*non_ema*", "*-pruned*", "onnx/*"]

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


def find_weights(entry: ModelEntry) -> Path:
    """The directory that holds the model. Raises ModelUnavailable, saying what to do next."""
    folder = _find_folder(entry)
    manifest.check_files(entry.key, folder, entry.sha256)
    return folder


def find_cached(entry: ModelEntry) -> Path | None:
    """Where the files of a model of the hub lie on this machine already; asks no network."""
    if entry.source.startswith("zoo:") or not _HUB_NAME.fullmatch(entry.source):
        return None
    repo, _, revision = entry.source.partition("@")
    return _cached_folder(repo, revision or None)


def pin_model(entry: ModelEntry) -> str:
    """Write the manifest beside the model's files; returns the line for its registry entry.

    Raises ModelUnavailable.
    """
    folder = _find_folder(entry)
    lines = manifest.write_lines(folder)
    (folder / manifest.NAME).write_text(lines, encoding="utf-8")
    return f'sha256 = "{manifest.seal(lines)}"'


def choose_dtype(entry: ModelEntry, device: str) -> torch.dtype:
    """For an engine without int8; `precision.load_dtype` is for those with.

    Raises ModelUnavailable when the registry asks for another precision.
    """
    if entry.dtype == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    if entry.dtype == "int8":
        raise ModelUnavailable(
            f"model {entry.key!r}: the {entry.engine} engine has no dtype 'int8': it is for the "
            "linear layers of text models, classifiers and embeddings of texts. Set "
            "bfloat16 or float16 in models.toml"
        )
    if entry.dtype not in _DTYPES:
        raise ModelUnavailable(
            f"model {entry.key!r}: dtype {entry.dtype!r} is not a precision of models; expected "
            f"auto, {', '.join(_DTYPES)} or int8. Correct it in models.toml"
        )
    return _DTYPES[entry.dtype]


def quiet_libraries() -> None:
    """Their progress bars and advice are for notebooks; a worker's log has no use for them."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _find_folder(entry: ModelEntry) -> Path:
    if entry.source.startswith("zoo:"):
        return _checked(entry, _zoo_folder(entry))
    folder = Path(entry.source).expanduser()
    if folder.is_dir() or not _HUB_NAME.fullmatch(entry.source):
        return _checked(entry, folder)
    return _checked(entry, _hub_folder(entry))


def _checked(entry: ModelEntry, folder: Path) -> Path:
    if not folder.is_dir():
        if entry.source.startswith("zoo:"):
            raise ModelUnavailable(
                f"model {entry.key!r}: the starter models are not installed (looked at {folder}). "
                "pip install genfarm-starters"
            )
        raise ModelUnavailable(
            f"model {entry.key!r}: source {entry.source!r} is not a directory on this machine "
            f"(looked at {folder}). Put the model there or correct source in models.toml"
        )
    if is_export(folder):
        return folder
    if next(folder.rglob("*.safetensors"), None) is None:
        others = (*manifest.PICKLES, *manifest.EXPORTED)
        pickled = next((p.name for p in folder.rglob("*") if p.suffix in others), "")
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} holds no *.safetensors weights"
            + (f" but {pickled}" if pickled else "")
            + ", and other formats are not loaded because they can run code. Save the model again "
            "with save_pretrained(..., safe_serialization=True); an exported model needs the "
            "record that `genfarm models export` writes beside it"
        )
    return folder


def _zoo_folder(entry: ModelEntry) -> Path:
    # By name: the sleep engine and the catalogue's checks work without the starter models.
    zoo = importlib.import_module("genfarm_workers.zoo")
    name = entry.source.removeprefix("zoo:")
    try:
        return Path(zoo.path(name))
    except (LookupError, OSError, ValueError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: the zoo has no model {name!r}. "
            "Correct source in models.toml or reinstall genfarm[worker]"
        ) from error


def _hub_folder(entry: ModelEntry) -> Path:
    from huggingface_hub import constants, model_info, snapshot_download

    repo, _, revision = entry.source.partition("@")
    cached = _cached_folder(repo, revision or None)
    if cached is not None:
        return cached
    if constants.HF_HUB_OFFLINE:
        raise _not_cached(entry, repo, "HF_HUB_OFFLINE is set")
    try:
        # One quick question first: a download retries for half a minute before it gives up.
        model_info(repo, revision=revision or None, timeout=HUB_TIMEOUT_SECONDS)
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=HUB_FILES,
            ignore_patterns=HUB_DOUBLES,
        )
    # Broad, because the hub client raises its transport library's errors, and that library
    # changes with its version.
    except Exception as error:
        raise _not_cached(entry, repo, f"{type(error).__name__}: {error}"[:120]) from error
    return Path(folder)


def _cached_folder(repo: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    # An interrupted download leaves a snapshot without weights: fetch again.
    return folder if next(folder.rglob("*.safetensors"), None) is not None else None


def _not_cached(entry: ModelEntry, repo: str, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"model {entry.key!r}: source {entry.source!r} is not in the local cache and the hub "
        f"cannot be reached ({reason}). Run 'hf download {repo}' on a machine with network and "
        "copy its cache, or set source to a directory in models.toml"
    )


if __name__ == "__main__":
    import sys

    from genfarm_shared.errors import GenfarmError
    from genfarm_shared.settings import Settings
    from genfarm_workers.catalog import choose, read_catalog

    try:
        (found,) = choose(read_catalog(Settings.load().registry_path), sys.argv[1:2]).values()
        sys.stdout.write(f"{head('models', found.key)}\n{pin_model(found)}\n")
    except (GenfarmError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
