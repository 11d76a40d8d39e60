"""Whether a model's files are those that were pinned: names and SHA-256, before any is loaded.

    <model>/genfarm.sha256    one line a file, "<64 hexadecimal digits>  <relative name>"

The lines are those of `sha256sum`, which can check them too. A manifest beside
the weights guards against a damaged or half-replaced model; one that is pinned
by its own hash in the registry guards also against whoever can write there.
Imports no torch.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from genfarm_shared.errors import ModelUnavailable

NAME = "genfarm.sha256"
#: Configuration, tokenizer and preprocessor.
SETTINGS = (".json", ".txt", ".model", ".jinja")
#: Exported models (`portable.py`), with what lies beside a large ONNX file. Some can carry code:
#: they are opened only where this manifest names them and the registry pins it.
EXPORTED = (".pt2", ".ts", ".onnx", ".data")
#: What a loader may read. Other files are nobody's business.
READ = (*SETTINGS, ".safetensors", *EXPORTED)
#: Files that can run code when they are loaded. They never are.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def write_lines(folder: Path) -> str:
    """The manifest of that folder as it is now."""
    return "".join(f"{_hash(folder / name)}  {name}\n" for name in _names(folder))


def seal(lines: str) -> str:
    """The one hash that stands for a whole manifest: what the registry's `sha256` holds."""
    return hashlib.sha256(lines.encode()).hexdigest()


def digest_files(folder: Path | None) -> str:
    """What `seal` gives, or would give, for the files of that folder; '' for no folder.

    A file that has not changed since is not read twice in a process.
    """
    if folder is None:
        return ""
    path = folder / NAME
    if path.is_file():  # the load compared the files with it
        return seal(path.read_text(encoding="utf-8"))
    return seal("".join(f"{_hash_once(folder / name)}  {name}\n" for name in _names(folder)))


def check_files(key: str, folder: Path, sealed: str) -> None:
    """Return when the folder is as pinned: by `sealed` if it is not empty, else by its manifest
    if it has one.

    Raises ModelUnavailable that names the first file at fault and both hashes.
    """
    path = folder / NAME
    if not path.is_file():
        if sealed:
            raise ModelUnavailable(
                f"model {key!r}: models.toml pins it by sha256, and {path} is missing. "
                f"`genfarm models pin {key}` writes it; compare its sha256 with the registry's"
            )
        return
    lines = path.read_text(encoding="utf-8")
    if sealed and seal(lines) != sealed:
        raise _fault(key, NAME, sealed, seal(lines))
    _compare(key, folder, _parse(key, lines))


def _compare(key: str, folder: Path, pinned: Mapping[str, str]) -> None:
    there = set(_names(folder))
    for name in sorted(there | set(pinned)):
        if name not in pinned:
            raise _fault(key, name, "no such file", _hash(folder / name))
        found = _hash(folder / name) if name in there else "no such file"
        if found != pinned[name]:
            raise _fault(key, name, pinned[name], found)


def _names(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in READ and path.is_file():
            yield path.relative_to(folder).as_posix()


def _parse(key: str, lines: str) -> dict[str, str]:
    pinned = {}
    for line in lines.splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ModelUnavailable(
                f"model {key!r}: {NAME} has the line {line[:80]!r}; expected '<sha256>  <file>'. "
                f"Write it again: `genfarm models pin {key}`"
            )
        pinned[name] = digest
    return pinned


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_once(path: Path) -> str:
    about = path.stat()
    return _hash_as_of(path, about.st_size, about.st_mtime_ns)


@functools.lru_cache(1024)
def _hash_as_of(path: Path, _size: int, _changed_ns: int) -> str:
    return _hash(path)


def _fault(key: str, name: str, pinned: str, found: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"model {key!r}: {name} is not the file that was pinned: expected sha256 {pinned}, found "
        f"{found}. Restore the file, or, if the change is yours, `genfarm models pin {key}`"
    )
