"""Kinds that take time: sound and moving pictures."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from genfarm_shared.kinds.params import MAX_PROMPT, Params, Prompt, Seed
from genfarm_shared.kinds.pictures import PictureSize, read_size


class TextToAudio(Params):
    """Speak a text, or play what a prompt asks for."""

    main: ClassVar[str] = "prompt"

    prompt: Prompt
    #: Length of music; None: the model's own. Speech is as long as its text.
    seconds: float | None = Field(None, ge=0.1, le=120.0)
    #: Speaker of a model that has several.
    voice: int = Field(0, ge=0, le=10_000)
    #: How fast speech is, 1 is the model's own pace.
    speaking_rate: float = Field(1.0, ge=0.25, le=4.0)
    #: None: the model's own; how closely music follows the prompt.
    guidance_scale: float | None = Field(None, ge=1.0, le=20.0)
    #: None: the model's own; 0 is greedy.
    temperature: float | None = Field(None, ge=0.0, le=10.0)
    format: Literal["wav", "flac"] = "wav"
    seed: Seed = 0
    #: Takes of the one prompt.
    n: int = Field(1, ge=1, le=64)

    def shape(self) -> tuple[object, ...]:
        return (self.seconds, self.guidance_scale)

    def rows(self) -> int:
        return self.n


class TextToVideo(Params):
    """Draw a moving picture of a prompt."""

    main: ClassVar[str] = "prompt"

    prompt: Prompt
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = ""
    #: None: the model's own number.
    frames: int | None = Field(None, ge=1, le=256)
    #: Frames a second when played.
    fps: int = Field(8, ge=1, le=60)
    #: None: the model's own default.
    steps: int | None = Field(None, ge=1, le=150)
    #: None: the model's own default; at most 1 turns guidance off.
    guidance_scale: float | None = Field(None, ge=0.0, le=50.0)
    #: Pixels, width x height, multiples of 8; None: the model's own size.
    size: Annotated[PictureSize | None, BeforeValidator(read_size)] = None
    format: Literal["gif", "mp4"] = "gif"
    seed: Seed = 0
    #: Takes of the one prompt.
    n: int = Field(1, ge=1, le=16)

    def shape(self) -> tuple[object, ...]:
        size = "x".join(map(str, self.size)) if self.size else None
        return (size, self.frames, self.steps, self.guidance_scale)

    def rows(self) -> int:
        return self.n
