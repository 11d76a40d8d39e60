"""One figure of a judging, as the judges' process says it and the client shows it.

Knows no measure.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of what a job generated."""

    name: str
    value: float
    #: The same of real ones; None where nothing real was named, or it means nothing.
    real: float | None
    #: Outputs, or what else the note says, that it was taken over.
    n: int
    #: What it means, its known bias, and how few outputs bend it.
    note: str
    #: `more` or `less` of it; None: neither is better.
    better: str | None = None
