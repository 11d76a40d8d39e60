"""Looks through the artefact store: is every file that a row names there and whole, and what
does no row name?

Memory does not grow with the farm but for the names of the files: each is kept as a
digest of 16 bytes.
"""

import hashlib
import re
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
#: What `ArtifactStore.put` leaves: whole files and those still being written. Narrower than what
#: is read, because a folder of artefacts may hold what is not ours, and this is deleted by.
WHOLE = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.[a-z0-9]{1,8}")
HALF = re.compile(r"tmp/[0-9a-f]{32}")


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
    #: Files that no artefact store writes: never deleted, whatever their age.
    foreign: int = 0
    deleted: int = 0


class Inspector:
    """Holds artefacts against their rows, equal ones once. Not thread-safe."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        #: Digests of the rows that were found right, and what is wrong with the others.
        self._right: set[bytes] = set()
        self._wrong: dict[bytes, tuple[str, ...]] = {}

    def knows(self, artifact: Artifact) -> bool:
        """Whether an equal one was looked at."""
        key = _row_key(artifact)
        return key in self._right or key in self._wrong

    def inspect(self, artifact: Artifact) -> tuple[str, ...]:
        """What is wrong with one: its name, presence, size and hash against its row.

        A file that cannot be read is damaged, like any other: the rest is still looked at.
        """
        key = _row_key(artifact)
        if key not in self._right and key not in self._wrong:
            faults = tuple(_faults(self._shelf, artifact))
            if faults:
                self._wrong[key] = faults
            else:
                self._right.add(key)
        return self._wrong.get(key, ())


def _faults(shelf: Shelf, artifact: Artifact) -> Iterator[str]:
    sha256 = artifact.sha256
    if not artifact.name.startswith(f"{sha256[:2]}/{sha256}"):
        yield f"artefact {artifact.name} is not named by its hash {sha256}"
    try:
        there = shelf.digest(artifact.name)
    except OSError as error:
        yield f"artefact {artifact.name} cannot be read: {error}"
        return
    if there is None:
        yield f"artefact {artifact.name} is not there"
    elif there != (artifact.size, sha256):
        yield (
            f"artefact {artifact.name} has {there[0]} bytes of sha256 {there[1]}; its row says "
            f"{artifact.size} bytes of {sha256}"
        )


def check_files(store: Store, shelf: Shelf, told: Callable[[int], object]) -> Inspection:
    """Compare every artefact of every result with its file. `told` hears how many results."""
    found, inspector, after = Inspection(), Inspector(shelf), ""
    while rows := store.list_artifacts(after, PAGE):
        after = rows[-1][0]
        for task_id, artifacts in rows:
            found.results += 1
            for artifact in artifacts:
                if not inspector.knows(artifact):  # equal bytes of two tasks are one file
                    found.files += 1
                    found.bytes += artifact.size
                found.faults += [(task_id, said) for said in inspector.inspect(artifact)]
        told(found.results)
    return found


def sweep(store: Store, shelf: Shelf, found: Inspection, *, delete: bool) -> None:
    """Count, or delete, old artefacts that no row names.

    The rows are read after the files' ages: a file is old enough that its row, if it has
    one, was committed long before.
    """
    old = time.time() - OLD_SECONDS
    named = _named(store)
    for file in shelf.walk():
        is_half = HALF.fullmatch(file.name) is not None
        if not is_half and WHOLE.fullmatch(file.name) is None:
            found.foreign += 1
            continue
        if file.changed_at > old or _key(file.name) in named:
            continue
        if is_half:
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


def _row_key(artifact: Artifact) -> bytes:
    return _key(f"{artifact.name} {artifact.size} {artifact.sha256}")


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _seconds(about: dict[str, Any]) -> float:
    """When a file changed, by what its kind of store calls it; now, hence young, if it says not."""
    changed = about.get("mtime", about.get("LastModified", about.get("updated")))
    if changed is None:
        return time.time()
    return float(changed.timestamp() if hasattr(changed, "timestamp") else changed)
