"""What the parameters of every kind share: strictness, seeds, prompts, and files.

Knows no kind.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from genfarm_shared.tasks import ARTIFACT_NAME

#: Seeds fit a signed 64-bit column and torch's generator.
MAX_SEED = 2**63 - 1
#: Longest prompt, in characters. Bounds what one row costs the store.
MAX_PROMPT = 32_768

#: Bytes that one file of a task may have. It travels to an engine in one piece.
MAX_FILE = 64 * 2**20

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT, pattern=r"^[^\x00]*$")]
#: A file that goes into a task: the name that `ArtifactStore.put` gave it, which is made of its
#: content. The client puts pictures there; no path or URL of a user is ever read by a worker.
File = Annotated[str, Field(pattern=f"^{ARTIFACT_NAME}$")]


class Params(BaseModel):
    """Parameters of one kind; unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    #: The parameter that a bare input (a string, a list of floats) stands for.
    main: ClassVar[str]
    #: The parameters that hold a `File`; a bare file stands for the first of them.
    files: ClassVar[tuple[str, ...]] = ()

    def shape(self) -> tuple[object, ...]:
        """What must be equal for two tasks of one model to share a batch."""
        return ()

    def rows(self) -> int:
        """How many rows of a batch the task takes."""
        return 1
