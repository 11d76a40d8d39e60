"""Kinds whose input is a text that is continued, classified or embedded."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from genfarm_shared.kinds.params import File, Params, Prompt, Seed


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
    #: Tokens less likely than this share of the likeliest are left out; 0 keeps them all.
    min_p: float = Field(0.0, ge=0.0, le=1.0)
    #: Divides what speaks for a token that the prompt or the text holds already; 1 does nothing.
    repetition_penalty: float = Field(1.0, ge=0.01, le=100.0)
    seed: Seed = 0
    #: Independent continuations of the one prompt.
    n: int = Field(1, ge=1, le=64)
    #: Plain strings, never patterns; the text ends before the first that appears.
    stop: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default_factory=list, max_length=16
    )

    def rows(self) -> int:
        return self.n


class TextClassification(Params):
    """Say which label fits a text, the mood of a sentence say."""

    main: ClassVar[str] = "text"

    text: Prompt
    #: Labels to give, the likeliest first; at most those that the model has.
    top_k: int = Field(1, ge=1, le=1000)
    #: Every task has one; here it decides nothing.
    seed: Seed = 0


class FeatureExtraction(Params):
    """A text or a picture as a point of a model's space: an embedding, or a VAE's latent."""

    main: ClassVar[str] = "text"
    files: ClassVar[tuple[str, ...]] = ("image",)

    text: Prompt | None = None
    image: File | None = None
    #: How tokens become one vector; None: the model's own way.
    pooling: Literal["mean", "cls"] | None = None
    #: Scale the vector to length 1; None: the model's own way.
    normalize: bool | None = None
    #: Every task has one; it decides something only where a model samples.
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("expected either text or image")
        return self

    def shape(self) -> tuple[object, ...]:
        return ("text" if self.image is None else "image",)
