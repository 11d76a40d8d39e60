"""Reads MNIST-format files: idx pictures and the labels beside them, plain or .gz.

Format: http://yann.lecun.com/exdb/mnist/. Knows no training.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from genfarm_shared.errors import InvalidSetting

_BYTES = 0x08
#: Bytes that a .gz may unfold to; MNIST's 60,000 pictures are 47 million.
_MOST = 4_000_000_000


def is_idx(path: Path) -> bool:
    """Whether the file is named as idx pictures are: `train-images-idx3-ubyte`, also `.gz`."""
    name = path.name.removesuffix(".gz")
    return "idx3" in name or name.endswith((".idx", "-ubyte"))


def read_pair(path: Path) -> tuple[Tensor, Tensor | None, str]:
    """Pictures (N, H, W) uint8, their labels (N,) where a file of labels lies beside them, and
    the name of that file. Raises InvalidSetting."""
    pictures = read_idx(path, 3)
    beside = _labels_beside(path)
    if beside is None:
        return pictures, None, ""
    labels = read_idx(beside, 1)
    if len(labels) != len(pictures):
        raise InvalidSetting(
            f"{path} holds {len(pictures):,} pictures and {beside} {len(labels):,} labels; "
            "expected equally many. Take both from one download"
        )
    return pictures, labels.long(), beside.name


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The bytes of one idx file of so many dimensions. Raises InvalidSetting."""
    content = _unfolded(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise _bad(path, f"begins with {content[:4].hex() or 'nothing'}, not with two zero bytes")
    if content[2] != _BYTES or content[3] != dimensions:
        raise _bad(
            path,
            f"holds type {content[2]:#04x} in {content[3]} dimensions; expected unsigned bytes "
            f"(0x08) in {dimensions}",
        )
    head = 4 + 4 * dimensions
    if len(content) < head:
        raise _bad(path, f"ends within its head, after {len(content)} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) - head != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise _bad(path, f"says {sizes} but holds {len(content) - head:,} bytes of them")
    if not math.prod(shape):
        raise _bad(path, "is empty")
    return torch.frombuffer(bytearray(content[head:]), dtype=torch.uint8).view(shape)


def _unfolded(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            content = file.read(_MOST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _bad(path, f"is no whole gzip file ({error})") from error
    if len(content) > _MOST:
        raise _bad(path, f"unfolds to more than {_MOST:,} bytes")
    return content


def _labels_beside(path: Path) -> Path | None:
    """`train-labels-idx1-ubyte` beside `train-images-idx3-ubyte`; either may be a .gz."""
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    found = (path.with_name(name), path.with_name(f"{name}.gz"))
    return next((file for file in found if file.is_file() and file != path), None)


def _bad(path: Path, fault: str) -> InvalidSetting:
    return InvalidSetting(
        f"{path} {fault}. Expected an idx file as MNIST's are, "
        "train-images-idx3-ubyte or its .gz; download it again or name another"
    )
