"""Files that tasks produce, kept under the hash of their content.

The name comes from the bytes alone: no word of a user is ever in a path, and
a task that ran twice leaves one file. Knows no task and no model.
"""

import contextlib
import hashlib
import io
import os
import re
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec

from genfarm_shared.errors import NotFound, Unreachable
from genfarm_shared.tasks import ARTIFACT_NAME, Artifact

#: What `put` calls a file: nothing else is ever read, so that a forged row reaches no other.
NAME = re.compile(ARTIFACT_NAME)
SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "video/mp4": ".mp4",
    "text/plain": ".txt",
    "application/json": ".json",
}


class ArtifactStore:
    """A folder or bucket behind an fsspec URL. Safe for many threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

    def put(self, data: bytes, media_type: str) -> Artifact:
        """Keep those bytes; when this returns they are whole under their name.

        Written aside and renamed, so that a reader never sees a part. Raises
        Unreachable when the store refuses.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{sha256[:2]}/{sha256}{SUFFIXES.get(media_type, '.bin')}"
        try:
            if not self._files.exists(self.path(name)):
                self._write(name, data)
        except OSError as error:
            raise Unreachable(
                f"the artefact store {self.url} refused {len(data)} bytes: {error}. The task is "
                "not recorded and will be tried again; free space or check GENFARM_ARTIFACTS"
            ) from error
        return Artifact(name, sha256, len(data), media_type)

    def read(self, name: str) -> bytes:
        """The bytes of that artefact. Raises NotFound, also for a name that `put` never gives."""
        with self._finding(name), self._files.open(self._place(name), "rb") as file:
            data: bytes = file.read()
            return data

    def size(self, name: str) -> int:
        """The bytes that it has, without reading them. Raises NotFound as `read` does."""
        with self._finding(name):
            return int(self._files.size(self._place(name)))

    def probe(self) -> None:
        """Raise Unreachable where the store itself is away, and not one of its files.

        It writes, as a worker must: that a bucket may be listed is not said.
        """
        aside = self.path(f"tmp/{uuid.uuid4().hex}")
        try:
            self._files.pipe_file(aside, b"probe")
            self._files.rm_file(aside)
        except OSError as error:
            raise Unreachable(f"the artefact store {self.url} does not answer: {error}") from error

    def path(self, name: str) -> str:
        """Where that artefact is: a path for a local store, else a place in the bucket."""
        return f"{self._root}/{name}"

    def _place(self, name: str) -> str:
        if not NAME.fullmatch(name):
            raise NotFound(
                f"{name[:80]!r} is no artefact's name; expected two digits, a slash and the "
                "SHA-256 of the content. The row that names it was not written by a worker"
            )
        return self.path(name)

    @contextlib.contextmanager
    def _finding(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(
                f"artefact {name} is not in {self.url}; was the folder moved, "
                "or is GENFARM_ARTIFACTS set to another place than the workers use?"
            ) from None

    def _write(self, name: str, data: bytes) -> None:
        aside = self.path(f"tmp/{uuid.uuid4().hex}")
        try:
            with self._files.open(aside, "wb") as file:
                file.write(data)
                _sync(file)
            self._files.makedirs(self.path(name).rpartition("/")[0], exist_ok=True)
            self._files.mv(aside, self.path(name))
        except OSError:
            with contextlib.suppress(OSError):  # or a full disk fills up with halves
                self._files.rm_file(aside)
            raise


def _sync(file: Any) -> None:
    """To the disk, where the file has a descriptor; buckets are durable when closed."""
    file.flush()
    descriptor = getattr(file, "fileno", None)
    if descriptor is not None:
        try:
            number = descriptor()
        except io.UnsupportedOperation:  # an object store's buffer has none behind its name
            return
        os.fsync(number)
