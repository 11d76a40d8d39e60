"""The kinds of task: their parameters, bounds and what may share a batch.

Names follow the Hugging Face pipeline tags. Both sides check with the same
classes: the client before anything is written, the worker before anything
runs. Knows no model and no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds.demos import BatchFloats, Drill, Sleep
from genfarm_shared.kinds.media import TextToAudio, TextToVideo
from genfarm_shared.kinds.params import Params
from genfarm_shared.kinds.pictures import (
    ImageClassification,
    ImageToText,
    TextToImage,
    UnconditionalImageGeneration,
)
from genfarm_shared.kinds.text import FeatureExtraction, TextClassification, TextGeneration


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
        Kind("unconditional-image-generation", UnconditionalImageGeneration, ("sample",)),
        Kind("image-classification", ImageClassification, ("classify-image",)),
        Kind("image-to-text", ImageToText, ("caption",)),
        Kind("text-classification", TextClassification, ("classify", "sentiment")),
        Kind("feature-extraction", FeatureExtraction, ("embed",)),
        Kind("text-to-audio", TextToAudio, ("tts", "speech", "music", "audio")),
        Kind("text-to-video", TextToVideo, ("txt2vid", "video")),
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
    given = values if type(values) is dict else dict(values)  # strict: no other mapping will do
    try:
        # `model_validate` takes half as long again: it is for callers that pass options.
        checked: Params = kind.params.__pydantic_validator__.validate_python(given)
        return checked
    except ValidationError as error:
        raise _fault(kind, error, index, quotes=quotes) from None


def encode_params(params: Params) -> str:
    """The JSON object that the store keeps of checked parameters, in the order of their class.

    The same object as `json.dumps(params.model_dump())`, in a sixth of the time.
    """
    return params.__pydantic_serializer__.to_json(params).decode()


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
        named = f"{what}={shown}" if quotes and first["loc"] else what
        said = f"{named}: {first['msg'][0].lower()}{first['msg'][1:]}"
    # What became of the other inputs is for whoever writes them to say.
    return InvalidTask(f"{where}{said}", param=param, index=index)
