"""Gives tasks back unfinished: the row to the store, its message to the queue. Knows no engine.

A message that comes back while the old one is still held is taken for its
double and dropped, and then only `reconcile` finds the row. So a message goes
before its row can be pending again, or the row is published once more; a worker
that dies between the two leaves a row that is reaped or reconciled.
"""

from collections.abc import Sequence

from genfarm_shared.store import Store
from genfarm_shared.tasks import Claim, Hint, State
from genfarm_workers.ends import end_of_record
from genfarm_workers.intake import Intake
from genfarm_workers.news import End
from genfarm_workers.patience import insist


class Returns:
    """Callable from any thread; waits out a store that is down."""

    def __init__(self, store: Store, intake: Intake) -> None:
        self._store = store
        self._intake = intake

    def leave(self, hints: Sequence[Hint]) -> None:
        """Leave waiting tasks to other workers, or to ourselves at a better time."""
        task_ids = [hint.task_id for hint in hints]
        self._intake.acknowledge([End(task_id, State.QUEUED) for task_id in task_ids])
        insist(lambda: self._store.requeue(task_ids))

    def give_back(self, claims: Sequence[Claim], reason: str) -> None:
        """Let claimed tasks go on elsewhere, as if they had not been begun."""
        self._let_come_back(claims)
        insist(lambda: self._store.release(claims, reason))

    def suspect(self, claims: Sequence[Claim], reason: str, *, is_lenient: bool) -> None:
        """Let claimed tasks go on apart from others; one that already did may end here."""
        may_end = len(claims) == 1 and claims[0].suspect
        if not may_end:
            self._let_come_back(claims)
        insist(lambda: self._store.accuse(claims, reason, was_killed=is_lenient))
        if may_end:
            self.let_go([claim.task_id for claim in claims])

    def let_go(self, task_ids: Sequence[str]) -> None:
        """Drop messages that are not ours to run; the store says how their tasks stand.

        A worker that died between its commit and its events is made up for
        here: its messages come to another worker, which finds the rows ended.
        A task that still waits was freed since we were denied it, or denied
        because this worker ends: it is published again. Its message kept would
        stand in no line, and have every later one dropped as its double.
        """
        if task_ids:
            records = insist(lambda: self._store.read_tasks(task_ids))
            ends = {record.id: end_of_record(record) for record in records}
            unknown = [End(i, State.CANCELLED) for i in task_ids if i not in ends]
            self._intake.acknowledge([*ends.values(), *unknown])
            going_on = [i for i, end in ends.items() if not end.state.is_terminal]
            if going_on:  # what came back meanwhile was dropped as a double
                insist(lambda: self._store.requeue(going_on))

    def _let_come_back(self, claims: Sequence[Claim]) -> None:
        self._intake.acknowledge([End(claim.task_id, State.PENDING) for claim in claims])
