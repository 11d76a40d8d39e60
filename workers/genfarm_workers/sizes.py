"""How much memory a model's weights will take, read from the heads of its files.

Nothing is loaded, and nothing that is not on this machine is looked for. Imports no torch.
"""

import json
import math
import struct
from pathlib import Path

from genfarm_workers import zoo
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.manifest import EXPORTED

#: Bytes of a number by the name that torch gives it, and that safetensors does.
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
OTHERS = {"I64": 8, "I32": 4, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
#: A head of more bytes is none: the format allows no more.
MOST_HEAD = 100_000_000


def folder_here(entry: ModelEntry) -> Path | None:
    """Where the files lie, None for a model of the hub or of no files."""
    if entry.source.startswith("zoo:"):
        name = entry.source.removeprefix("zoo:")
        return zoo.path(name) if name in zoo.NAMES else None
    folder = Path(entry.source).expanduser() if entry.source else None
    return folder if folder is not None and folder.is_dir() else None


def weigh(entry: ModelEntry, folder: Path | None, device: str) -> int | None:
    """Bytes of its weights on that device in its precision, None where that cannot be told."""
    if not entry.source:
        return 0
    if folder is None:
        return None
    name = entry.dtype if entry.dtype != "auto" else "float32" if device == "cpu" else "bfloat16"
    try:
        files = folder.rglob("*.safetensors")
        exported = (path for path in folder.iterdir() if path.suffix in EXPORTED)
        held = sum(path.stat().st_size for path in exported)
        return held + sum(_weigh_file(path, BYTES.get(name)) for path in files)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None  # the load says what is wrong with it


def _weigh_file(path: Path, float_bytes: int | None) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEAD:
            raise ValueError(f"{path} is no safetensors file")
        head = json.loads(file.read(length))
    tensors = (found for name, found in head.items() if name != "__metadata__")
    return sum(math.prod(t["shape"]) * _number_bytes(t["dtype"], float_bytes) for t in tensors)


def _number_bytes(name: str, float_bytes: int | None) -> int:
    if name in FLOATS:
        return float_bytes or FLOATS[name]
    return OTHERS[name]
