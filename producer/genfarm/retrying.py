"""Which tasks a word of `Job.retry` means, and the word that a job's ends ask for.

Knows no job and no store: whoever has counts may ask.
"""

from collections.abc import Mapping
from typing import Literal

from genfarm_shared.tasks import TERMINAL, State

Which = Literal["failed", "cancelled", "all"]

#: What `retry` words mean.
RETRIED: Mapping[str, frozenset[State]] = {
    "failed": frozenset({State.FAILED, State.QUARANTINED}),
    "cancelled": frozenset({State.CANCELLED}),
    "all": TERMINAL - {State.SUCCEEDED},
}


def retry_word(counts: Mapping[State, int]) -> Which:
    """The word that runs something again: by itself `retry` means failures alone."""
    return "failed" if any(counts.get(state) for state in RETRIED["failed"]) else "all"


def hint(counts: Mapping[State, int]) -> str:
    """The call that runs something again, as a person writes it in Python."""
    return "job.retry()" if retry_word(counts) == "failed" else "job.retry('all')"
