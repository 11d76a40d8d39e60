"""What an engine is: the one interface between the farm and a loaded model.

Engines live in the engine process and know no queue, no store and no clock
but the one they are given. A new kind of model is one file here and one line
in `engines/registry.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from genfarm_shared.tasks import Claim, Failure


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels on their way out of an engine; encoding happens elsewhere."""

    width: int
    height: int
    #: Row-major RGB, `height * width * 3` bytes.
    rgb: bytes


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples on their way out of an engine."""

    #: Samples a second.
    rate: int
    channels: int
    #: 16-bit signed, little-endian, the channels of a moment side by side.
    samples: bytes
    #: `wav` or `flac`.
    format: str = "wav"


@dataclass(frozen=True, slots=True)
class Clip:
    """A moving picture on its way out of an engine."""

    width: int
    height: int
    #: Frames a second.
    fps: int
    #: Row-major RGB, frame behind frame, `frames * height * width * 3` bytes.
    rgb: bytes
    #: `gif` or `mp4`.
    format: str = "gif"


#: What becomes a file of the artefact store.
Media = Picture | Sound | Clip


@dataclass(frozen=True, slots=True)
class Output:
    """How one task ended on the engine: an output or a failure."""

    task_id: str
    #: JSON-ready; None when it failed.
    output: dict[str, Any] | None = None
    files: Sequence[Media] = ()
    failure: Failure | None = None
    #: `batch_size` (tasks that shared the device call), `engine_seconds`, and counts such
    #: as `output_tokens`.
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How far a task is, for whoever watches it. May be lost, and is never recorded."""

    task_id: str
    #: Tokens or steps that are done.
    done: int
    #: How many it takes at most.
    total: int
    #: The text so far of its first continuation.
    text: str = ""
    #: Its first picture as it looks by now.
    picture: Picture | None = None


@dataclass(slots=True)
class Work:
    """What an engine's device calls have computed since it was loaded.

    A row-step is one row of one call: a token of a text, a denoising step of a picture.
    """

    calls: int = 0
    #: Row-steps that were computed, empty rows and all.
    computed: int = 0
    #: Those of them that a task needed.
    useful: int = 0
    #: How often memory was not enough for a call, which was then done in parts.
    shortages: int = 0

    def add(self, *, computed: int, useful: int) -> None:
        self.calls += 1
        self.computed += computed
        self.useful += useful

    def share_until(self, later: "Work") -> float:
        """Which part of the row-steps from this moment to a later one was needed; 1 for none."""
        computed = later.computed - self.computed
        return (later.useful - self.useful) / computed if computed else 1.0


@dataclass(frozen=True, slots=True)
class Knee:
    """A batch size that was measured."""

    rows: int
    #: Rows a second.
    rate: float
    #: Why it is not twice that, in the words of `genfarm_shared.tasks.Ceiling`.
    how: str = "knee"


class Engine(Protocol):
    """A loaded model that tasks are admitted to and that works in steps.

    One thread calls it. A step is one device call where the model allows
    (a decode step, a denoise step, a whole batch where it does not), so that
    between two steps tasks can join, leave and be cancelled.
    """

    #: Most batch rows it holds at once; a task takes `Claim.rows` of them.
    slots: int
    #: Added to at every device call.
    work: Work

    def load(self) -> None:
        """Load weights and warm up. Raises ModelUnavailable, saying what is missing."""

    def free_rows(self, batch_key: str) -> int:
        """How many rows of tasks with that key it can admit right now."""

    def admit(self, claims: Sequence[Claim]) -> None:
        """Take tasks of one batch key, at most `free_rows` of them in rows.

        A task whose parameters this model cannot run is not raised for: it
        comes back from the next `step` with a failure.
        """

    def step(self, now: float) -> list[Output]:
        """Do one unit of work; return the tasks that ended in it. `now` is monotonic seconds."""

    def wakes_at(self, now: float) -> float | None:
        """When `step` is next worth calling: `now` for at once, None while it holds nothing."""

    def drop(self, task_ids: Sequence[str]) -> None:
        """Forget tasks at once; they never come back from `step`."""

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """How far those tasks are; nothing of unknown ids, and of what cannot be told.

        Asked only of watched tasks, a few times a second, also from within `step` where that
        calls its tick. A text is a beginning of the final one, but for what a stop string may
        still cut off, which whoever asks takes care of; half a character is held back.
        """


@runtime_checkable
class Closing(Protocol):
    """An engine that holds on to more than memory, such as a thread."""

    def close(self) -> None:
        """Let go of that. Only while it holds no task; `resize` takes it up again."""
