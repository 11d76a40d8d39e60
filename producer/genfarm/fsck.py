"""Looks through the artefact store: is every file that a row names there and whole, and what
does no row name?

Memory does not grow with the farm but for the names of the files: each is kept as a
digest of 16 bytes.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.store import Store
from genfarm_shared.tasks import Artifact

#: A younger file may be on its way between the store of files and its row. Seconds.
OLD_SECONDS = 3600.0
#: Results read at once.
PAGE = 1000
#: Bytes of a file read at once.
BLOCK = 1 << 20
#: Folder of files that are still being written.
ASIDE = "tmp/"


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the artefact store."""

    name: str
    size: int
    #: UTC seconds.
    changed_at: float


class Shelf(ArtifactStore):
    """An artefact store as an inspector sees it: every file, named by a row or not."""

    def walk(self) -> Iterator[Found]:
        """Every file, folder by folder."""
        if self._files.exists(self._root):
            for folder, _folders, files in self._files.walk(self._root, detail=True):
                for name, about in files.items():
                    path = f"{folder}/{name}"
                    short = path[path.index(self._root) + len(self._root) + 1 :]
                    yield Found(short, int(about["size"]), _seconds(about))

    def digest(self, name: str) -> tuple[int, str] | None:
        """Size and hex sha256 of a file's bytes; None where there is none."""
        summing, size = hashlib.sha256(), 0
        try:
            with self._files.open(self.path(name), "rb") as file:
                while block := file.read(BLOCK):
                    summing.update(block)
                    size += len(block)
        except FileNotFoundError:
            return None
        return size, summing.hexdigest()

    def delete(self, name: str) -> None:
        """Remove a file for ever."""
        self._files.rm_file(self.path(name))


@dataclass(slots=True)
class Inspection:
    """What was found."""

    results: int = 0
    #: Files that rows name, each counted once.
    files: int = 0
    bytes: int = 0
    #: Task id and what is wrong with a file of its result.
    faults: list[tuple[str, str]] = field(default_factory=list)
    #: Files that no row names, and files half-written; old ones only.
    orphans: int = 0
    halves: int = 0
    #: Bytes of both.
    idle_bytes: int = 0
    deleted: int = 0


def inspect(shelf: Shelf, artifact: Artifact) -> Iterator[str]:
    """What is wrong with one artefact: its name, presence, size and hash against its row."""
    sha256 = artifact.sha256
    if not artifact.name.startswith(f"{sha256[:2]}/{sha256}"):
        yield f"artefact {artifact.name} is not named by its hash {sha256}"
    there = shelf.digest(artifact.name)
    if there is None:
        yield f"artefact {artifact.name} is not there"
    elif there != (artifact.size, sha256):
        yield (
            f"artefact {artifact.name} has {there[0]} bytes of sha256 {there[1]}; its row says "
            f"{artifact.size} bytes of {sha256}"
        )


def check_files(store: Store, shelf: Shelf, told: Callable[[int], object]) -> Inspection:
    """Compare every artefact of every result with its file. `told` hears how many results."""
    found, seen, after = Inspection(), set[bytes](), ""
    while rows := store.list_artifacts(after, PAGE):
        after = rows[-1][0]
        for task_id, artifacts in rows:
            found.results += 1
            for artifact in artifacts:
                known = _key(artifact.name)
                if known not in seen:  # equal bytes of two tasks are one file
                    found.files += 1
                    found.bytes += artifact.size
                seen.add(known)
                found.faults += [(task_id, said) for said in inspect(shelf, artifact)]
        told(found.results)
    return found


def sweep(store: Store, shelf: Shelf, found: Inspection, *, delete: bool) -> None:
    """Count, or delete, old files that no row names.

    The rows are read after the files' ages: a file is old enough that its row, if it has
    one, was committed long before.
    """
    old = time.time() - OLD_SECONDS
    named = _named(store)
    for file in shelf.walk():
        if file.changed_at > old or _key(file.name) in named:
            continue
        if file.name.startswith(ASIDE):
            found.halves += 1
        else:
            found.orphans += 1
        found.idle_bytes += file.size
        if delete:
            shelf.delete(file.name)
            found.deleted += 1


def _named(store: Store) -> set[bytes]:
    named, after = set[bytes](), ""
    while rows := store.list_artifacts(after, PAGE):
        after = rows[-1][0]
        named.update(_key(artifact.name) for _, artifacts in rows for artifact in artifacts)
    return named


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _seconds(about: dict[str, Any]) -> float:
    """When a file changed, by what its kind of store calls it; now, hence young, if it says not."""
    changed = about.get("mtime", about.get("LastModified", about.get("updated")))
    if changed is None:
        return time.time()
    return float(changed.timestamp() if hasattr(changed, "timestamp") else changed)
