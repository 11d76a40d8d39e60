"""Kinds that need no model of the field: the concurrency demos, and drills."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from genfarm_shared.kinds.params import MAX_PROMPT, Params, Seed


class Sleep(Params):
    """Wait: the concurrency demo's stand-in for a slow call."""

    main: ClassVar[str] = "seconds"

    seconds: float = Field(2.0, ge=0.0, le=3600.0)
    seed: Seed = 0


class BatchFloats(Params):
    """Send a batch of floats through a small torch module, one output per input."""

    main: ClassVar[str] = "values"

    values: list[float] = Field(min_length=1, max_length=65_536)
    seed: Seed = 0


class Drill(Params):
    """Answer what anybody can compute (see `drill.py`), or go wrong on request.

    Served only where the registry lists a model of this kind.
    """

    main: ClassVar[str] = "text"

    text: Annotated[str, Field(max_length=MAX_PROMPT, pattern=r"^[^\x00]*$")] = ""
    seconds: float = Field(0.0, ge=0.0, le=3600.0)
    #: Answer with a picture too.
    picture: bool = False
    #: Answer with a text too; it can be watched as it grows.
    aloud: bool = False
    fault: Literal[
        "none",
        "raise",
        "memory-error",
        "oom",
        "oom-batch",
        "system-exit",
        "exit",
        "segfault",
        "kill",
        "hang",
        "deadlock",
        "hold-gil",
        "lost-device",
        "bad-output",
    ] = "none"
    #: The first attempts that go wrong; later ones go right.
    faulty_attempts: int = Field(1000, ge=0, le=1000)
    seed: Seed = 0
