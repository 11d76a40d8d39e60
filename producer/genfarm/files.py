"""Files that go into tasks: pictures as people have them, kept in the farm's artefact store.

A task holds a file's name there, which is made of its content, so that equal
pictures are one file and a job with the same content is the same job. Knows no
kind and no task.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genfarm.result import Result
from genfarm_shared.artifacts import NAME, SUFFIXES, ArtifactStore
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds.params import MAX_FILE
from genfarm_shared.tasks import Artifact

#: What a file's name may end with to be taken for a picture.
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"} | {
    ".webp": "image/webp",
    ".gif": "image/gif",
}
#: How a file begins that holds one of those.
_BEGINNINGS = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))

#: Puts a user's file into the farm; returns the name that a task holds. Raises InvalidTask.
Keeper = Callable[[str, object], str]


def keeper(artifacts: Callable[[], ArtifactStore]) -> Keeper:
    """What keeps the files of one farm; its store is opened with the first."""

    def keep(parameter: str, value: object) -> str:
        if isinstance(value, str) and NAME.fullmatch(value):
            return value
        if isinstance(value, Artifact):
            return value.name
        data = _content(parameter, value)
        if len(data) > MAX_FILE:
            raise InvalidTask(
                f"{parameter}: {_named(value)} has {len(data)} bytes; at most {MAX_FILE} are "
                "taken. Make the picture smaller",
                param=parameter,
            )
        return artifacts().put(data, _media_type(parameter, value, data)).name

    return keep


def is_file(value: object) -> bool:
    """Whether a bare input is a file, and no text; a text that names one is not."""
    return isinstance(value, Path | bytes | Artifact | Result) or _is_image(value)


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, by name. Raises InvalidTask for none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        known = ", ".join(PICTURES)
        raise InvalidTask(
            f"{folder} holds no pictures; expected files that end with {known}", param="inputs"
        )
    return found


def _content(parameter: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str | Path):
        return _read(parameter, Path(value).expanduser())
    if isinstance(value, Result):
        return _of_result(parameter, value)
    if _is_image(value):
        return _png(value)
    raise InvalidTask(
        f"{parameter}: a {type(value).__name__} is no picture; expected a path, a PIL image, the "
        "bytes of a file, a Result or one of its artefacts",
        param=parameter,
    )


def _read(parameter: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidTask(
            f"{parameter}: cannot read {path} ({error.strerror}); expected the path of a picture",
            param=parameter,
        ) from error


def _of_result(parameter: str, result: Result) -> bytes:
    if not result.artifacts:
        raise InvalidTask(
            f"{parameter}: the result {result.custom_id} of a {result.kind} task has no file",
            param=parameter,
        )
    return result.read(result.artifacts[0])


def _is_image(value: object) -> bool:
    """A PIL image, known by what it can do: Pillow is loaded only by who has one."""
    return hasattr(value, "save") and hasattr(value, "getbands")


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _media_type(parameter: str, value: object, data: bytes) -> str:
    """By its content: a worker opens it, whatever its name says."""
    found = next((media for begin, media in _BEGINNINGS if data.startswith(begin)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = "image/webp"
    if found is None:
        known = ", ".join(sorted(kind for kind in SUFFIXES if kind.startswith("image/")))
        raise InvalidTask(
            f"{parameter}: {_named(value)} is no picture that a farm takes; expected one of "
            f"{known}. Save it as PNG",
            param=parameter,
        )
    return found


def _named(value: object) -> str:
    return str(value) if isinstance(value, str | Path) else f"the {type(value).__name__}"
