"""Reads the files that tasks name, a picture to describe say, between the claim and the engine.

Engines know no store: they get the content beside the parameters. A file that
is gone, cannot be read, or is not what its name says fails its task alone; a store
that is away is waited for. Knows no model.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import InvalidTask, NotFound
from genfarm_shared.kinds import KINDS
from genfarm_shared.kinds.params import MAX_FILE
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.encoding import missing
from genfarm_workers.engines import Output
from genfarm_workers.patience import insist
from genfarm_workers.recorder import Ended

#: Files read at once: of a bucket each takes some 50 ms, most of it waiting.
READERS = 8
#: For the log.
WAITING = "a task waits for its file"


class Attacher:
    """`attach` may be called from one thread at a time."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="attach")

    def attach(self, claims: Sequence[Claim]) -> tuple[list[Claim], list[Ended]]:
        """The claims with their files, and those that cannot be run as they are."""
        if not any(_asks(claim) for claim in claims):
            return list(claims), []
        found = list(self._pool.map(self._attached, claims))
        ready = [one for one in found if isinstance(one, Claim)]
        return ready, [one for one in found if isinstance(one, Ended)]

    def close(self) -> None:
        self._pool.shutdown()

    def _attached(self, claim: Claim) -> Claim | Ended:
        lacking = missing(claim.params)
        if lacking is not None:
            return _failed(claim, "missing_extra", lacking)
        files = dict[str, bytes]()
        for parameter in _named(claim):
            name = str(claim.params[parameter])
            try:
                files[parameter] = insist(partial(self._read, name), meanwhile=WAITING)
            except NotFound as error:
                return _failed(claim, "missing_file", f"{parameter}: {error}")
            except InvalidTask as error:
                return _failed(claim, "invalid_params", f"{parameter}: {error}")
        return replace(claim, files=files)

    def _read(self, name: str) -> bytes:
        """Raises NotFound for a file that is not there, not given or not what it was,
        InvalidTask for one that is too large, Unreachable.
        """
        with suppress(OSError):
            return self._whole(name)
        self._artifacts.probe()
        try:  # again: the store may have been away, and be back
            return self._whole(name)
        except OSError as error:
            raise NotFound(
                f"the file {name} cannot be read from {self._artifacts.url}, which does answer: "
                f"{error}. Check who may read it, or submit the file again"
            ) from error

    def _whole(self, name: str) -> bytes:
        size = self._artifacts.size(name)
        if size > MAX_FILE:
            raise InvalidTask(
                f"the file {name} has {size} bytes; at most {MAX_FILE} are taken. Make it "
                "smaller and submit it again"
            )
        content = self._artifacts.read(name)
        if hashlib.sha256(content).hexdigest() != PurePosixPath(name).stem:
            raise NotFound(
                f"the file {name} is not what it was when it was submitted; submit it again"
            )
        return content


def _asks(claim: Claim) -> bool:
    kind = KINDS.get(claim.kind)
    return kind is not None and bool(kind.params.files or "format" in kind.params.model_fields)


def _named(claim: Claim) -> list[str]:
    """The parameters of that claim that hold a file. A row may hold anything."""
    files = KINDS[claim.kind].params.files
    return [name for name in files if isinstance(claim.params.get(name), str)]


def _failed(claim: Claim, code: str, message: str) -> Ended:
    return Ended(claim, Output(claim.task_id, failure=Failure(code, message)))
