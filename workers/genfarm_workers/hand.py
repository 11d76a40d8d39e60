"""The claims in an engine's hands, and the batch rows that they take. Knows no process."""

from collections import Counter
from collections.abc import Iterable, Mapping

from genfarm_shared.tasks import Claim
from genfarm_workers.goodput import HOLDING, Ledger


class Hand:
    """Not for two threads at once."""

    def __init__(self, slots: Mapping[str, int], ledger: Ledger) -> None:
        """`slots` are the batch rows of each model, asked anew each time; `ledger` is told
        whether anything is held."""
        self._slots = slots
        self._ledger = ledger
        #: By task id.
        self.claims: dict[str, Claim] = {}
        self._rows: Counter[str] = Counter()

    def take(self, claims: Iterable[Claim]) -> None:
        """Hold those; one that is held already is held once."""
        new = list(claims)
        self.let_go(claim.task_id for claim in new)
        self.claims.update((claim.task_id, claim) for claim in new)
        self._rows.update(self._count(new))
        self._note()

    def let_go(self, task_ids: Iterable[str]) -> list[Claim]:
        """Returns those of them that were held."""
        pop = self.claims.pop
        gone = [claim for i in task_ids if (claim := pop(i, None)) is not None]
        self._rows.subtract(self._count(gone))
        self._note()
        return gone

    def empty(self) -> list[Claim]:
        """Let go of all; returns them."""
        return self.let_go(list(self.claims))

    def recount(self) -> None:
        """A model's batches have another number of rows now."""
        self._rows = self._count(self.claims.values())

    def rows(self) -> dict[str, int]:
        """Batch rows by model; a task of more than an engine has counts as one whole load."""
        return dict(self._rows)

    def models(self) -> set[str]:
        return {claim.model for claim in self.claims.values()}

    def _count(self, claims: Iterable[Claim]) -> Counter[str]:
        rows: Counter[str] = Counter()
        for claim in claims:
            rows[claim.model] += min(claim.rows, self._slots[claim.model])
        return rows

    def _note(self) -> None:
        self._ledger.note(**{HOLDING: bool(self.claims)})
