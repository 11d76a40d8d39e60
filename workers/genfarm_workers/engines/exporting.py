"""Writes a model of the registry to a file, holds it against the eager one, and seals it.

A file that differs by more than the tolerance, at any of several batch sizes,
is taken away again. What comes out is a folder that a registry entry can name.
Knows no kind: an engine offers its parts (`portable.py`).

    python -m genfarm_workers.engines.exporting KEY --format onnx [--out DIR] [--json]
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import GenfarmError, InvalidSetting, MissingExtra, ModelUnavailable
from genfarm_shared.settings import Settings
from genfarm_workers.catalog import ModelEntry, choose, read_catalog
from genfarm_workers.engines import manifest
from genfarm_workers.engines.blocks import spell_block
from genfarm_workers.engines.exported import open_exported
from genfarm_workers.engines.portable import (
    BATCH,
    FORMATS,
    ExportParts,
    ExportRecord,
    Forward,
    is_export,
    offered_parts,
)
from genfarm_workers.engines.quicken import unpacked
from genfarm_workers.engines.weights import find_weights
from genfarm_workers.engines.writers import WRITERS, undisturbed

#: Largest difference that rounding explains, as a part of the largest number that eager gives, or
#: of 1. Seen: 1e-6 in float32, 4e-3 in bfloat16. Another order of sums may turn a number of int8
#: over to its neighbour, and layers behind it carry that on.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2, "int8": 5e-2}

#: Characters that the registry takes.
_LONGEST_KEY = 64
#: Of an entry, what an export of it keeps where it was set.
_KEPT = ("slots", "stall_seconds")


def export_model(
    entry: ModelEntry, form: str, out: Path, tolerance: float | None = None
) -> tuple[ExportRecord, str]:
    """Write the model of that entry into the folder `out`; its record, and the manifest's seal.

    `tolerance` is the largest absolute difference, else one that its precision explains. An
    earlier export in `out` is replaced; of a failed one nothing is left.
    Raises ModelUnavailable, InvalidSetting, MissingExtra.
    """
    if out.exists() and not (is_export(out) or not any(out.iterdir())):
        raise InvalidSetting(
            f"{out} is there and holds no export; nothing was written. Name another folder: --out"
        )
    return write_export(entry, offered_parts(entry), form, out, tolerance)


def write_export(
    entry: ModelEntry, parts: ExportParts, form: str, out: Path, tolerance: float | None = None
) -> tuple[ExportRecord, str]:
    """`export_model` of parts that are there already."""
    parts = replace(parts, module=_ByPosition(unpacked(parts.module)).eval())
    source = find_weights(entry) if entry.source else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
        folder = Path(made) / "export"
        folder.mkdir()
        if source is not None:
            _copy_settings(source, folder)
        record = _begun(entry, form, parts, source)
        if tolerance is not None:
            record = replace(record, tolerance=tolerance)
        record = _first_good(record, parts, entry, folder)
        lines = manifest.write_lines(folder)
        (folder / manifest.NAME).write_text(lines, encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return record, manifest.seal(lines)


def registry_lines(entry: ModelEntry, record: ExportRecord, out: Path, sealed: str) -> str:
    """The block of models.toml that serves the export."""
    kept = {name: getattr(entry, name) for name in _KEPT if name in entry.model_fields_set}
    values = {"kind": entry.kind, "engine": entry.engine, "source": str(out), "sha256": sealed}
    tables: dict[str, Any] = {"limits": entry.limits} if entry.limits else {}
    if entry.review is not None:
        tables["review"] = entry.review.model_dump(exclude_defaults=True)
    return spell_block(("models", _name(entry, record.format)), values | kept | tables)


def _name(entry: ModelEntry, form: str) -> str:
    """Of the folder, and of the registry key."""
    dtype = "" if entry.dtype in ("auto", "float32") else f"-{entry.dtype}"
    tail = f"-{form}{dtype}"
    return entry.key[: _LONGEST_KEY - len(tail)] + tail


class _ByPosition(torch.nn.Module):
    """Every module with the one signature, so that shapes are named alike."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.module(*inputs)
        return found


def _begun(entry: ModelEntry, form: str, parts: ExportParts, source: Path | None) -> ExportRecord:
    """The record as far as it is known before anything is written."""
    with torch.no_grad():
        output = parts.module(*parts.inputs.values())
    scale = max(1.0, float(output.abs().max()))
    dtype = "float32" if entry.dtype == "auto" else entry.dtype
    return ExportRecord(
        format=form,
        kind=entry.kind,
        engine=entry.engine,
        dtype=dtype,
        inputs=[_spell_input(name, tensor, parts) for name, tensor in parts.inputs.items()],
        output={"name": parts.output, "dtype": str(output.dtype).removeprefix("torch.")},
        weights=_weights(source),
        torch=torch.__version__,
        tolerance=TOLERANCES[dtype] * scale,
        difference=float("nan"),
        batches=(),
        bytes=0,
    )


def _spell_input(name: str, tensor: torch.Tensor, parts: ExportParts) -> dict[str, Any]:
    free = {0: BATCH, **parts.dynamic.get(name, {})}
    shape = [free.get(axis, size) for axis, size in enumerate(tensor.shape)]
    return {"name": name, "shape": shape, "dtype": str(tensor.dtype).removeprefix("torch.")}


def _weights(source: Path | None) -> dict[str, str]:
    if source is None:
        return {}
    digests = (line.partition("  ") for line in manifest.write_lines(source).splitlines())
    return {name: digest for digest, _, name in digests if name.endswith(".safetensors")}


def _copy_settings(source: Path, folder: Path) -> None:
    """Configuration, tokenizer and preprocessor."""
    for path in source.rglob("*"):
        name = path.relative_to(source)
        is_index = name.name.endswith(".safetensors.index.json")
        if path.suffix in manifest.SETTINGS and path.is_file() and not is_index:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)


def _first_good(
    record: ExportRecord,
    parts: ExportParts,
    entry: ModelEntry,
    folder: Path,
) -> ExportRecord:
    """Write the file for any batch size, or else for that of the example. Raises ModelUnavailable.

    TorchScript may have written the example's size into the program without a word: the check
    at other sizes finds that.
    """
    reasons = []
    for rows in (None, len(next(iter(parts.inputs.values())))):
        tried = replace(record, rows=rows)
        try:
            return _written(tried, parts, entry, folder)
        except (MissingExtra, ModelUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  # exporters raise whatever their passes do
            size = "any batch size" if rows is None else f"{rows} rows"
            said = str(error).strip().partition("\n")[0][:200]
            reasons.append(f"for {size}: {type(error).__name__}: {said}")
    raise ModelUnavailable(
        f"model {entry.key!r} cannot be exported as {record.format} in {record.dtype}: "
        f"{'; '.join(reasons)}. Nothing was kept. Try another --format or --dtype"
    )


class _Differs(Exception):
    """The file gives other numbers than the eager model."""


def _written(
    record: ExportRecord, parts: ExportParts, entry: ModelEntry, folder: Path
) -> ExportRecord:
    """The record of a file that was checked. Raises what the exporter does, or _Differs."""
    with undisturbed():
        path = folder / FORMATS[record.format]
        for old in folder.glob(f"{path.name}*"):
            old.unlink()
        WRITERS[record.format](parts, record.rows, path)
        size = sum(file.stat().st_size for file in folder.glob(f"{path.name}*"))
        record = replace(record, bytes=size)
        record.write(folder)
        forward = _opened_as_served(entry, folder)
        batches = _batches(parts)
        sizes = sorted({len(next(iter(batch.values()))) for batch in batches})
        record = replace(record, batches=sizes)
        record = replace(record, difference=largest_difference(parts, forward, batches))
    if not record.difference <= record.tolerance:
        raise _Differs(
            f"largest difference {record.difference:.3g} from eager, more than the tolerance of "
            f"{record.tolerance:.3g}"
        )
    record.write(folder)
    return record


def _opened_as_served(entry: ModelEntry, folder: Path) -> Forward:
    """By the way that a worker takes, seal and all; what is checked is what will be run."""
    lines = manifest.write_lines(folder)
    (folder / manifest.NAME).write_text(lines, encoding="utf-8")
    served = entry.model_copy(update={"sha256": manifest.seal(lines), "dtype": "auto"})
    return open_exported(served, folder, "cpu")


@torch.no_grad()
def largest_difference(
    parts: ExportParts, forward: Forward, batches: Sequence[Mapping[str, torch.Tensor]]
) -> float:
    """Of the outputs for those batches; not a number where one of them is none."""
    found = [
        (forward(*batch.values()).double() - parts.module(*batch.values()).double()).abs().max()
        for batch in batches
    ]
    return float(torch.stack(found).max())


def _batches(parts: ExportParts) -> list[dict[str, torch.Tensor]]:
    """One row, two, the example, more than twice that, and the example with axes cut short."""
    rows = len(next(iter(parts.inputs.values())))
    picks = [range(1), range(2), range(rows), [*range(rows), *range(rows), 0]]
    batches = [{name: t[list(pick)] for name, t in parts.inputs.items()} for pick in picks]
    if any(parts.dynamic.values()):
        batches.append(
            {name: _cut(t, parts.dynamic.get(name, {})) for name, t in parts.inputs.items()}
        )
    return batches


def _cut(tensor: torch.Tensor, axes: Mapping[int, str]) -> torch.Tensor:
    for axis in axes:
        tensor = tensor.narrow(axis, 0, max(1, tensor.shape[axis] // 2))
    return tensor


def _spell(record: ExportRecord, out: Path) -> str:
    sizes = ", ".join(map(str, record.batches))
    held = "" if record.rows is None else f", held in batches of {record.rows} rows"
    return "\n".join(
        (
            f"file        {out / FORMATS[record.format]}",
            f"format      {record.format}, {record.dtype}{held}",
            f"size        {record.bytes / 1e6:.2f} MB",
            f"difference  {record.difference:.2g} from eager at most, in batches of {sizes}",
            f"tolerance   {record.tolerance:.2g}",
        )
    )


def main(arguments: Sequence[str]) -> None:
    """Export by the command's arguments, and say what came of it. Raises GenfarmError."""
    settings = Settings.load()
    options = _parser().parse_args(arguments)
    (entry,) = choose(read_catalog(settings.registry_path), [options.key]).values()
    if options.dtype:
        entry = entry.model_copy(update={"dtype": options.dtype})
    out = (options.out or settings.home / "exports" / _name(entry, options.form)).resolve()
    record, sealed = export_model(entry, options.form, out, options.tolerance)
    block = registry_lines(entry, record, out, sealed)
    told = {**asdict(record), "folder": str(out), "sha256": sealed, "registry": block}
    said = json.dumps(told) if options.json else f"{_spell(record, out)}\n\n{block}"
    sys.stdout.write(said + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="genfarm models export")
    parser.add_argument("key")
    parser.add_argument("--format", choices=tuple(FORMATS), default="torch-export", dest="form")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtype")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (GenfarmError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
