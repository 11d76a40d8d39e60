"""Kinds that draw pictures or look at them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from genfarm_shared.kinds.params import MAX_PROMPT, File, Params, Prompt, Seed

PictureSize = Annotated[
    list[Annotated[int, Field(ge=8, le=2048, multiple_of=8)]], Field(min_length=2, max_length=2)
]


def read_size(value: object) -> object:
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
    size: Annotated[PictureSize | None, BeforeValidator(read_size)] = None
    seed: Seed = 0
    #: Pictures of the one prompt; the k-th is drawn from a seed derived from `seed` and k.
    n: int = Field(1, ge=1, le=64)

    def shape(self) -> tuple[object, ...]:
        return ("x".join(map(str, self.size)) if self.size else None,)

    def rows(self) -> int:
        return self.n


class UnconditionalImageGeneration(Params):
    """Draw samples of what a GAN or VAE was trained on. Everything may differ within a batch."""

    main: ClassVar[str] = "n"

    #: Samples; the k-th is drawn from a seed derived from `seed` and k.
    n: int = Field(1, ge=1, le=64)
    seed: Seed = 0
    #: Class to draw, by its name or number; None draws any. Only for models trained with classes.
    label: str | int | None = None
    #: Spread of the latent: below 1 gives fewer odd samples and less variety.
    truncation: float = Field(1.0, gt=0.0, le=2.0)
    #: Walk through the latent space, from the sample of `seed` to that of `to_seed`, in n pictures.
    to_seed: Seed | None = None
    #: Points of the latent space to decode instead, `n` is then their number.
    latents: Annotated[list[list[float]], Field(min_length=1, max_length=64)] | None = None

    def rows(self) -> int:
        return self.n if self.latents is None else len(self.latents)


class ImageClassification(Params):
    """Say what a picture shows. Pictures of any size share a batch."""

    main: ClassVar[str] = "image"
    files: ClassVar[tuple[str, ...]] = ("image",)

    image: File
    #: Labels to give, the likeliest first; at most those that the model has.
    top_k: int = Field(5, ge=1, le=1000)
    #: Every task has one; here it decides nothing.
    seed: Seed = 0


class ImageToText(Params):
    """Say in words what a picture shows."""

    main: ClassVar[str] = "image"
    files: ClassVar[tuple[str, ...]] = ("image",)

    image: File
    #: How the caption begins, for models that take it.
    prompt: Annotated[str, Field(max_length=MAX_PROMPT, pattern=r"^[^\x00]*$")] = ""
    max_new_tokens: int = Field(32, ge=1, le=1024)
    #: 0 is greedy.
    temperature: float = Field(0.0, ge=0.0, le=10.0)
    seed: Seed = 0
    #: Captions of the one picture; the k-th is drawn from a seed derived from `seed` and k.
    n: int = Field(1, ge=1, le=64)

    def rows(self) -> int:
        return self.n
