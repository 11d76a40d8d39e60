"""What of an engine can be written to a file and run without its Python code, and the record of it.

    <export>/model.pt2 | model.ts | model.onnx    the model
    <export>/export.json                          what this file is (`ExportRecord`)
    <export>/config.json, tokenizer.json, ...     as in the folder it was made from
    <export>/genfarm.sha256                       seals all of these

Knows no format from within: `exporting.py` writes them, `exported.py` opens them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.registry import build

#: File of each format within the export's folder.
FORMATS = {"torch-export": "model.pt2", "torchscript": "model.ts", "onnx": "model.onnx"}
RECORD = "export.json"
#: How an input's shape says that an axis may have any length.
BATCH = "batch"

#: Takes the tensors of `ExportParts.inputs` by position, returns one tensor with as many rows.
Forward = Callable[..., torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class ExportParts:
    """The one device call of an engine."""

    #: A `Forward`; rows along axis 0 of every input, and of its output.
    module: torch.nn.Module
    #: By name and in the order of its arguments: several different rows of what it is given.
    inputs: Mapping[str, torch.Tensor]
    #: Axes behind axis 0 that may have any length, by input: `{"input_ids": {1: "tokens"}}`.
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    #: Name of what it returns.
    output: str = "output"


@runtime_checkable
class Portable(Protocol):
    """An engine whose model can be exported, compared, and served from an export."""

    def export_parts(self) -> ExportParts:
        """Of the loaded model as the engine runs it."""


def offered_parts(entry: ModelEntry) -> ExportParts:
    """Those of that entry's engine, loaded on the CPU. Raises ModelUnavailable."""
    if is_export(Path(entry.source).expanduser()):
        raise ModelUnavailable(
            f"model {entry.key!r} is an exported file itself. Name the key it was exported from"
        )
    engine = build(entry, "cpu")
    if not isinstance(engine, Portable):
        raise ModelUnavailable(
            f"model {entry.key!r}: the {entry.engine} engine offers no device call that a file "
            "could hold, so its models can be neither exported nor compared. Classifiers, "
            "embeddings of texts, GANs and VAEs that draw, text models and floats can"
        )
    engine.load()
    return engine.export_parts()


class OneOutput(torch.nn.Module):
    """A transformers model as a `Forward`: tensors by position in, one tensor out.

    TorchScript knows no output dataclass, and a file has no use for a cache.
    """

    def __init__(
        self, model: Any, names: Sequence[str], output: str = "logits", **options: Any
    ) -> None:
        """`names` of the arguments, `output` of what is kept; `options` go to every call."""
        super().__init__()
        self.model = model
        self._names = tuple(names)
        self._output = output
        self._options = options

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        given = dict(zip(self._names, inputs, strict=True))
        found: torch.Tensor = getattr(self.model(**given, **self._options), self._output)
        return found


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """What an exported file is; kept beside it as `export.json`."""

    #: One of FORMATS.
    format: str
    kind: str
    #: The engine that it was taken from, and that can serve it.
    engine: str
    #: Registry's precision that is within the file.
    dtype: str
    #: Name, shape (a number, or the axis' name where it may have any length) and type of each.
    inputs: Sequence[Mapping[str, Any]]
    #: Name and type.
    output: Mapping[str, str]
    #: SHA-256 of each file of weights it was made from; empty for an engine without files.
    weights: Mapping[str, str]
    torch: str
    #: Largest absolute difference from eager that was allowed, and the one that was found.
    tolerance: float
    difference: float
    #: Batch sizes at which that was found.
    batches: Sequence[int]
    #: Bytes of the file.
    bytes: int
    #: The one batch size that the file can run; None: any.
    rows: int | None = None

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")


def is_export(folder: Path) -> bool:
    return (folder / RECORD).is_file()


def read_record(key: str, folder: Path) -> ExportRecord:
    """Raises ModelUnavailable."""
    try:
        record = ExportRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        FORMATS[record.format]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelUnavailable(
            f"model {key!r}: {folder / RECORD} is not a record that `genfarm models export` wrote "
            f"({type(error).__name__}). Export the model again"
        ) from error
    return record
