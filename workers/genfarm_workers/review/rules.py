"""The registry's tables of gates, and what a gate says. Loads no list and no model."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from genfarm_shared.tasks import Failure

_STRICT = ConfigDict(extra="forbid", frozen=True)


class ClassifierRules(BaseModel):
    """A text classifier of the BERT family as a gate."""

    model_config = _STRICT

    #: Key of a model of the registry, or what a model's `source` takes.
    source: str = Field(min_length=1)
    #: Labels that are refused.
    labels: list[str] = Field(min_length=1)
    #: From this score on.
    threshold: float = Field(0.5, gt=0.0, le=1.0)


class ReviewRules(BaseModel):
    """The gates of one model; none of them is on by itself."""

    model_config = _STRICT

    #: A file of one entry a line, or the entries; see `blocklist.py`.
    block_list: str | Annotated[list[str], Field(min_length=1)] = ""
    #: `package.module:function`, see `gates.py`.
    hook: str = Field("", pattern=r"^(|[\w.]+:\w+)$")
    classifier: ClassifierRules | None = None
    #: None: a diffusion pipeline's own where it has one. True: without one it is not served.
    #: False: it is left out.
    safety_checker: bool | None = None
    #: Whether the gates look at what goes in.
    prompts: bool = True
    #: Whether they look at texts that come out.
    outputs: bool = True

    @property
    def names(self) -> list[str]:
        """The gates that are on, in the order in which they are asked."""
        gates = {
            "block_list": self.block_list,
            "hook": self.hook,
            "classifier": self.classifier,
            "safety_checker": self.safety_checker,
        }
        return [name for name, is_on in gates.items() if is_on]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a gate refuses a text."""

    gate: str
    #: What names the rule and none of its words.
    rule: str

    def failure(self, what: str) -> Failure:
        """`what` is "prompt" or "output"."""
        mend = {
            "prompt": "Change the prompt",
            "output": "Change the prompt or the seed",
        }[what]
        message = (
            f"the {what} was refused by the gate {self.gate}, rule {self.rule}. {mend}; "
            "whoever keeps the workers' models.toml decides what its [review] refuses"
        )
        return Failure("content_filtered", message)
