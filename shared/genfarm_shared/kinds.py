"""The kinds of task: their parameters, bounds and what may share a batch.

Names follow the Hugging Face pipeline tags. Both sides check with the same
classes: the client before anything is written, the worker before anything
runs. Knows no model and no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from genfarm_shared.errors import InvalidTask

#: Seeds fit a signed 64-bit column and torch's generator.
MAX_SEED = 2**63 - 1
#: Longest prompt, in characters. Bounds what one row costs the store.
MAX_PROMPT = 32_768

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT, pattern=r"^[^\x00]*$")]


class Params(BaseModel):
    """Parameters of one kind; unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    #: The parameter that a bare input (a string, a list of floats) stands for.
    main: ClassVar[str]

    def shape(self) -> tuple[object, ...]:
        """What must be equal for two tasks of one model to share a batch."""
        return ()

    def rows(self) -> int:
        """How many rows of a batch the task takes."""
        return 1


class TextGeneration(Params):
    """Continue a prompt. Every parameter may differ within a batch."""

    main: ClassVar[str] = "prompt"

    prompt: Prompt
    max_new_tokens: int = Field(64, ge=1, le=4096)
    #: 0 is greedy.
    temperature: float = Field(1.0, ge=0.0, le=10.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    #: 0 keeps the whole vocabulary.
    top_k: int = Field(0, ge=0, le=1_000_000)
    seed: Seed = 0
    #: Independent continuations of the one prompt.
    n: int = Field(1, ge=1, le=64)
    #: Plain strings, never patterns; the text ends before the first that appears.
    stop: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default_factory=list, max_length=16
    )

    def rows(self) -> int:
        return self.n


Size = Annotated[
    list[Annotated[int, Field(ge=8, le=2048, multiple_of=8)]], Field(min_length=2, max_length=2)
]


def _size(value: object) -> object:
    """`"64x48"` (width x height), `[64, 48]` or `64` to a list of two."""
    if isinstance(value, int):
        return [value, value]
    if isinstance(value, str):
        parts = value.lower().split("x")
        if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
            return [int(part) for part in parts]
    if isinstance(value, tuple):
        return list(value)
    return value


#: diffusers' schedulers by their names in the field. Which of them a model takes, its worker
#: knows.
Scheduler = Literal[
    "ddim",
    "ddpm",
    "pndm",
    "euler",
    "euler-a",
    "heun",
    "dpm++2m",
    "dpm++2m-karras",
    "dpm++2m-sde",
    "unipc",
]


class TextToImage(Params):
    """Draw a prompt. All but the size may differ within a batch."""

    main: ClassVar[str] = "prompt"

    prompt: Prompt
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = ""
    #: None: the model's own default.
    steps: int | None = Field(None, ge=1, le=150)
    #: None: the model's own default; at most 1 turns guidance off.
    guidance_scale: float | None = Field(None, ge=0.0, le=50.0)
    #: None: the model's own.
    scheduler: Scheduler | None = None
    #: Pixels, width x height, multiples of 8; None: the model's own size.
    size: Annotated[
        Annotated[
            list[Annotated[int, Field(ge=8, le=2048, multiple_of=8)]],
            Field(min_length=2, max_length=2),
        ]
        | None,
        BeforeValidator(_size),
    ] = None
    seed: Seed = 0
    #: Pictures of the one prompt; the k-th is drawn from a seed derived from `seed` and k.
    n: int = Field(1, ge=1, le=64)

    def shape(self) -> tuple[object, ...]:
        return ("x".join(map(str, self.size)) if self.size else None,)

    def rows(self) -> int:
        return self.n


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


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of task as people and the wire name it."""

    name: str
    params: type[Params]
    aliases: tuple[str, ...] = ()
    #: Model used when the request names none and no worker says otherwise.
    builtin_model: str | None = None


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("text-generation", TextGeneration, ("generate", "gen", "text")),
        Kind("text-to-image", TextToImage, ("txt2img", "image")),
        Kind("sleep", Sleep, builtin_model="sleep"),
        Kind("batch-floats", BatchFloats, ("floats",), builtin_model="floats"),
        Kind("drill", Drill),
    )
}
_BY_ALIAS = {alias: kind for kind in KINDS.values() for alias in (kind.name, *kind.aliases)}


def find_kind(name: str) -> Kind:
    """The kind of that name or alias. Raises InvalidTask, which lists the kinds."""
    try:
        return _BY_ALIAS[name]
    except KeyError:
        known = ", ".join(KINDS)
        message = f"unknown kind {name!r}; the kinds are {known}. Correct the name and submit again"
        raise InvalidTask(message, param="kind") from None


def check_params(
    kind: Kind, values: Mapping[str, Any], *, index: int | None = None, quotes: bool = True
) -> Params:
    """Checked parameters with defaults filled in. Raises InvalidTask for the first fault.

    It quotes the value at fault, which may be a prompt: where others than its writer read
    the message, ask for none.
    """
    try:
        return kind.params.model_validate(dict(values))
    except ValidationError as error:
        raise _fault(kind, error, index, quotes=quotes) from None


def batch_key(model: str, params: Params) -> str:
    """Tasks with equal keys may share a batch. Holds no prompt."""
    return "|".join([model, *("" if part is None else str(part) for part in params.shape())])


def _fault(kind: Kind, error: ValidationError, index: int | None, *, quotes: bool) -> InvalidTask:
    first = error.errors(include_url=False)[0]
    param = str(first["loc"][0]) if first["loc"] else None
    where = "" if index is None else f"input {index}: "
    what = ".".join(map(str, first["loc"])) or "parameters"
    if first["type"] == "extra_forbidden":
        known = ", ".join(kind.params.model_fields)
        said = f"{what} is not a parameter of {kind.name}; expected some of: {known}"
    elif first["type"] == "missing":
        said = f"{what} is missing; {kind.name} needs it"
    else:
        shown = repr(first["input"])
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        named = f"{what}={shown}" if quotes else what
        said = f"{named}: {first['msg'][0].lower()}{first['msg'][1:]}"
    # What became of the other inputs is for whoever writes them to say.
    return InvalidTask(f"{where}{said}", param=param, index=index)
