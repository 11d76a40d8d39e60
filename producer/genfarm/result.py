"""What one task brought back, and the error it is when it brought nothing.

Knows no store: it is made from a task's record and reads artefacts when asked.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from genfarm.media import Audio, Video, open_audio
from genfarm.retrying import hint
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.chains import is_stage
from genfarm_shared.errors import InvalidTask, ItemCancelled, ItemError, ItemExpired, ItemFailed
from genfarm_shared.kinds import find_kind
from genfarm_shared.mediatypes import Sort, sort_of
from genfarm_shared.provenance import manifest_of
from genfarm_shared.tasks import Artifact, State, TaskRecord

if TYPE_CHECKING:  # Pillow is loaded when a picture is first looked at
    from PIL.Image import Image

#: What to do with a task that has no result.
Errors = Literal["raise", "return", "skip"]

_ERRORS: Mapping[State, type[ItemError]] = {
    State.CANCELLED: ItemCancelled,
    State.EXPIRED: ItemExpired,
}

_WORDS: Mapping[State, str] = {
    State.FAILED: "failed",
    State.CANCELLED: "was cancelled",
    State.EXPIRED: "expired",
    State.QUARANTINED: "was quarantined",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of one task went. Seconds, or None for a step it never reached."""

    #: From being written down to its last claim by a worker.
    queued_s: float | None
    #: From that claim to the recorded end.
    run_s: float | None
    #: From being written down to the recorded end.
    total_s: float | None
    #: Tasks that shared its device call.
    batch_size: int | None
    #: How often a worker has begun it.
    attempt: int
    #: Id of the worker that ended it.
    worker: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """How one task ended: its output, or in `error` why there is none."""

    custom_id: str
    #: Place among the job's inputs, from 0.
    index: int
    kind: str
    #: Registry key.
    model: str
    #: Checked parameters, defaults filled in.
    params: Mapping[str, Any]
    #: Alone decides the output, given the parameters and the model.
    seed: int
    #: What the engine returned, as JSON; empty when there is an error.
    output: Mapping[str, Any]
    #: Files it produced, in order.
    artifacts: Sequence[Artifact]
    timing: Timing
    error: ItemError | None = None
    #: Who made it of what, signed; empty where the workers write none. `Farm.verify` checks it.
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _files: ArtifactStore | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def input(self) -> Any:
        """The prompt, or what the kind has in its place; None where a chain never came to it."""
        return self.params.get(find_kind(self.kind).params.main)

    @property
    def text(self) -> str | None:
        """The first text; None when there is none."""
        return next(iter(self.texts), None)

    @property
    def texts(self) -> list[str]:
        """Every text of the task, `n` of them."""
        return list(self.output.get("texts", ()))

    @property
    def values(self) -> list[float]:
        """One float per input float, for the kinds that give numbers."""
        return list(self.output.get("values", ()))

    @property
    def label(self) -> str | None:
        """What a classifier takes the input for; None for other kinds."""
        return next(iter(self.labels), None)

    @property
    def labels(self) -> dict[str, float]:
        """What a classifier says, label to score, the likeliest first."""
        found = self.output.get("labels", ())
        return {one["label"]: one["score"] for one in found if isinstance(one, Mapping)}

    @property
    def embedding(self) -> list[float] | None:
        """The input as a point of the model's space; None for other kinds."""
        found = self.output.get("embedding")
        return None if found is None else list(found)

    @property
    def audio(self) -> Audio | None:
        """The first sound, read from the artefact store; None when there is none."""
        return next(iter(self.audios), None)

    @property
    def audios(self) -> list[Audio]:
        """Every sound of the task, `n` of them. Raises NotFound for a lost file."""
        return [open_audio(self.read(a), a.media_type) for a in self.artifacts_of("sound")]

    @property
    def video(self) -> Video | None:
        """The first moving picture, read from the artefact store; None when there is none."""
        return next(iter(self.videos), None)

    @property
    def videos(self) -> list[Video]:
        """Every moving picture of the task, `n` of them. Raises NotFound for a lost file."""
        fps = int(self.output.get("fps") or self.params.get("fps") or 1)
        return [Video(fps, clip.media_type, self.read(clip)) for clip in self.artifacts_of("clip")]

    @property
    def image(self) -> "Image | None":
        """The first picture, read from the artefact store; None when there is none."""
        pictures = self.artifacts_of("picture")
        return self._open(pictures[0]) if pictures else None

    @property
    def images(self) -> "list[Image]":
        """Every picture of the task, `n` of them. Raises NotFound for a lost file."""
        return [self._open(picture) for picture in self.artifacts_of("picture")]

    def artifacts_of(self, sort: Sort) -> list[Artifact]:
        """Its artefacts of that sort, in order."""
        return [a for a in self.artifacts if sort_of(a.media_type) == sort]

    def read(self, artifact: Artifact) -> bytes:
        """The bytes of one of its artefacts. Raises NotFound."""
        assert self._files is not None, "a result made by hand has no files. This is a bug."  # noqa: S101
        return self._files.read(artifact.name)

    def raise_for_error(self) -> "Result":
        """Itself when all is well; else raises its ItemError."""
        if self.error is not None:
            raise self.error
        return self

    def _open(self, picture: Artifact) -> "Image":
        from PIL import Image

        image = Image.open(io.BytesIO(self.read(picture)))
        image.load()
        return image


def make_result(record: TaskRecord, files: ArtifactStore) -> Result:
    """The result of a task that has ended, well or not."""
    return Result(
        custom_id=record.custom_id,
        index=record.index,
        kind=record.kind,
        model=record.model,
        params=record.params,
        seed=record.seed,
        output=record.output or {},
        artifacts=record.artifacts,
        timing=_timing(record),
        error=None if record.state is State.SUCCEEDED else make_error(record),
        manifest=manifest_of(record),
        _files=files,
    )


def make_error(record: TaskRecord) -> ItemError:
    """The error that a task which ended without a result stands for."""
    reason = record.reason or "no reason was recorded"
    again = hint({record.state: 1})
    if is_stage(record.job_id):
        again = again.replace("job.", "chain.")
    times = "attempt" if record.attempt == 1 else "attempts"
    message = (
        f"task {record.custom_id} of job {record.job_id} {_WORDS[record.state]} after "
        f"{record.attempt} {times}: {reason}. `{again}` runs it again"
    )
    return _ERRORS.get(record.state, ItemFailed)(
        message,
        code=record.reason_code or record.state.value,
        custom_id=record.custom_id,
        attempts=record.attempt,
    )


def check_errors(errors: str) -> None:
    """Raise InvalidTask for a word that `sift` does not know: it would hide every failure."""
    if errors not in get_args(Errors):
        raise InvalidTask(
            f"errors={errors!r}: expected 'raise', 'return' or 'skip'", param="errors"
        )


def sift(result: Result, errors: Errors) -> Iterator[Result]:
    """The result, or nothing, or its error raised."""
    if result.error is not None and errors == "raise":
        raise result.error
    if result.error is None or errors == "return":
        yield result


def _timing(record: TaskRecord) -> Timing:
    return Timing(
        queued_s=_between(record.created_at, record.claimed_at),
        run_s=_between(record.claimed_at, record.finished_at),
        total_s=_between(record.created_at, record.finished_at),
        batch_size=record.metrics.get("batch_size"),
        attempt=record.attempt,
        worker=record.worker_id,
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)
