"""The audit's rules: every way in which rows and files can lie is found and named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from genfarm.audit import Statement, audit
from genfarm.fsck import Shelf
from genfarm_shared.schema import attempts, jobs, results, tasks
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, Outcome, State
from tests.shared.farmyard import add_job, add_worker, done, failed, ids

LIMIT = 3


class Ledger:
    """A job of six tasks that ended in every honest way, and what lays hands on its rows."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.job = add_job(store, 6)
        self.shelf = Shelf(str(folder / self.job.id))
        self.dead, self.worker = f"dead-{self.job.id}", f"worker-{self.job.id}"
        self.good, self.lost, self.failed, self.cancelled, self.retried, self.drawn = ids(
            self.job, 6
        )
        self._live()

    def audit(self) -> Statement:
        return audit(self.store, self.shelf, self.job.id, LIMIT)

    def set_task(self, task_id: str, **values: Any) -> None:
        self.store.write(
            lambda c: c.execute(update(tasks).where(tasks.c.id == task_id).values(values))
        )

    def set_attempt(self, task_id: str, number: int, **values: Any) -> None:
        where = (attempts.c.task_id == task_id, attempts.c.attempt == number)
        self.store.write(lambda c: c.execute(update(attempts).where(*where).values(values)))

    def add_attempt(self, task_id: str, number: int, outcome: str | None) -> None:
        at = self.moment(task_id) + 1.0
        row = {"task_id": task_id, "attempt": number, "worker_id": self.worker, "started_at": at}
        row |= {"ended_at": at, "outcome": outcome}
        self.store.write(lambda c: c.execute(insert(attempts), [row]))

    def moment(self, task_id: str) -> float:
        """When the task ended."""
        at = select(tasks.c.finished_at).where(tasks.c.id == task_id)
        return float(self.store.read(lambda c: c.execute(at).scalar_one()))

    def copy_result(self, task_id: str) -> None:
        """Give another task the result of the good one."""

        def work(connection: Any) -> None:
            row = connection.execute(select(results).where(results.c.task_id == self.good)).one()
            connection.execute(insert(results), [{**row._mapping, "task_id": task_id}])

        self.store.write(work)

    def drop(self, table: Any, task_id: str) -> None:
        column = table.c.id if table is tasks else table.c.task_id
        self.store.write(lambda c: c.execute(delete(table).where(column == task_id)))

    def _live(self) -> None:
        """Six honest lives: at once, after a loss, in vain, withdrawn, run again, with a file."""
        store, job = self.store, self.job
        for name in (self.dead, self.worker):
            add_worker(store, name)
        store.claim([self.lost], self.dead)
        beats = {w.id: w.beat_at for w in store.list_workers() if w.id == self.dead}
        store.reap(beats, max_attempts=LIMIT)
        store.cancel(job.id, [self.cancelled])
        claims = {claim.task_id: claim for claim in store.claim(ids(job, 6), self.worker)}
        store.commit([failed(claims[self.retried])], self.worker, max_attempts=LIMIT)
        assert store.retry(job.id, [State.FAILED]) == 1
        (again,) = store.claim([self.retried], self.worker)
        drawn = claims[self.drawn]
        artifact = self.shelf.put(b"a picture", "image/png")
        outcomes = [done(claims[self.good], 1), done(claims[self.lost], 2), done(again, 3)]
        outcomes += [failed(claims[self.failed])]
        outcomes += [Outcome(drawn.task_id, drawn.attempt, {"value": 4}, artifacts=(artifact,))]
        store.commit(outcomes, self.worker, max_attempts=LIMIT)


def _shift(ledger: Ledger, number: int) -> None:
    ledger.set_attempt(ledger.good, 1, attempt=number)


def _break_file(ledger: Ledger, data: bytes | None) -> None:
    (file,) = ledger.shelf.walk()
    path = Path(ledger.shelf.path(file.name))
    path.unlink() if data is None else path.write_bytes(data)


def _rename_artifact(ledger: Ledger) -> None:
    artifact = {"name": "ab/other.png", "sha256": "cd" * 32, "size": 9, "media_type": "image/png"}
    row = update(results).where(results.c.task_id == ledger.drawn).values(artifacts=[artifact])
    ledger.store.write(lambda c: c.execute(row))


def _total(ledger: Ledger, total: int | None) -> None:
    row = update(jobs).where(jobs.c.id == ledger.job.id).values(total=total)
    ledger.store.write(lambda c: c.execute(row))


#: What is done to honest rows, and the rule and the words that must answer.
CORRUPTIONS: Mapping[str, tuple[Any, str, str]] = {
    "open": (
        lambda b: b.set_task(b.cancelled, state="pending", finished_at=None),
        "I1",
        "it has not ended",
    ),
    "row gone": (lambda b: _gone(b, b.cancelled), "I1", "6 inputs and 5 rows"),
    "row too many": (lambda b: _total(b, 5), "I1", "5 inputs and 6 rows"),
    "still open": (lambda b: _total(b, None), "I1", "still being written"),
    "no result": (lambda b: b.drop(results, b.good), "I2", "succeeded and has no result"),
    "result of a failure": (lambda b: b.copy_result(b.failed), "I2", "did not succeed"),
    "two successes": (
        lambda b: b.set_attempt(b.lost, 1, outcome="succeeded"),
        "I2",
        "more than one attempt succeeded",
    ),
    "gap": (lambda b: _shift(b, 2), "I4", "not numbered from 1 without a gap"),
    "no attempt": (lambda b: b.drop(attempts, b.good), "I4", "counts other attempts"),
    "count": (lambda b: b.set_task(b.good, attempt=7), "I4", "counts other attempts"),
    "never ended": (
        lambda b: b.set_attempt(b.good, 1, ended_at=None),
        "I4",
        "attempt 1 has not ended",
    ),
    "no outcome": (
        lambda b: b.set_attempt(b.lost, 1, outcome=None),
        "I4",
        "attempt 1 has not ended",
    ),
    "backwards": (
        lambda b: b.set_attempt(b.good, 1, ended_at=1.0),
        "I4",
        "ended before it started",
    ),
    "at once": (
        lambda b: b.set_attempt(b.lost, 1, ended_at=b.moment(b.lost) + 9.0),
        "I4",
        "attempt 2 started before attempt 1 had ended",
    ),
    "wrong winner": (
        lambda b: b.set_attempt(b.good, 1, worker_id=b.dead),
        "I4",
        "not of the attempt that succeeded",
    ),
    "no winner": (
        lambda b: b.set_attempt(b.good, 1, outcome="failed"),
        "I4",
        "its last attempt did not",
    ),
    "ended twice": (
        lambda b: b.set_attempt(b.lost, 1, outcome="cancelled"),
        "I5",
        "2 attempts ended it, and it was retried 0 times",
    ),
    "unasked retry": (
        lambda b: b.set_task(b.retried, retries=0),
        "I5",
        "2 attempts ended it, and it was retried 0 times",
    ),
    "ran on": (
        lambda b: b.add_attempt(b.good, 2, "released"),
        "I5",
        "ran again after it had succeeded",
    ),
    "no time of ending": (
        lambda b: b.set_task(b.good, finished_at=None),
        "I5",
        "time of ending do not agree",
    ),
    "began after its end": (
        lambda b: b.set_task(b.good, finished_at=1.0),
        "I5",
        "started after it had ended",
    ),
    "came back": (
        lambda b: b.set_task(b.good, reason_code="cancelled"),
        "I5",
        "it was cancelled and is succeeded",
    ),
    "file gone": (lambda b: _break_file(b, None), "I6", "is not there"),
    "file cut": (lambda b: _break_file(b, b"a pict"), "I6", "has 6 bytes"),
    "file changed": (lambda b: _break_file(b, b"a pictUre"), "I6", "of sha256"),
    "name is no hash": (_rename_artifact, "I6", "not named by its hash"),
    "cancelled with a result": (lambda b: b.copy_result(b.cancelled), "I7", "shows a result"),
    "cancelled and won": (
        lambda b: b.set_task(b.good, state="cancelled", reason_code="cancelled"),
        "I7",
        "shows a result",
    ),
    "too many losses": (
        lambda b: b.set_task(b.good, losses=LIMIT + 1),
        "I8",
        "more than 3 allow",
    ),
    "rash verdict": (
        lambda b: b.set_task(b.failed, state="quarantined", reason_code="quarantined"),
        "I8",
        "without a crash before",
    ),
}


def _gone(ledger: Ledger, task_id: str) -> None:
    ledger.drop(attempts, task_id)
    ledger.drop(tasks, task_id)


def test_honest_books_hold(store: Store, tmp_path: Path) -> None:
    found = Ledger(store, tmp_path).audit()
    assert found.breaches == []
    assert (found.total, found.rows, found.results, found.artifacts) == (6, 6, 4, 1)
    assert found.states == {"succeeded": 4, "failed": 1, "cancelled": 1}
    assert found.attempts == {"succeeded": 4, "failed": 2, "lost": 1}
    assert found.retries == 1


def test_every_lie_in_the_books_is_found_and_named(store: Store, tmp_path: Path) -> None:
    """In one test a database, because a fresh one costs more than thirty lies."""
    for name, (corrupt, rule, said) in CORRUPTIONS.items():
        ledger = Ledger(store, tmp_path)
        corrupt(ledger)
        found = [breach for breach in ledger.audit().breaches if breach.rule == rule]
        assert [breach for breach in found if said in breach.said], (name, ledger.audit().breaches)
        assert all(breach.subject.startswith(ledger.job.id) for breach in found)


def test_a_running_task_has_an_open_attempt_and_no_other(store: Store, tmp_path: Path) -> None:
    job: JobRecord = add_job(store, 1)
    add_worker(store)
    store.claim(ids(job, 1), "w1")
    shelf = Shelf(str(tmp_path / "artifacts"))
    assert {b.said.partition(";")[0] for b in audit(store, shelf, job.id, LIMIT).breaches} == {
        "it has not ended"
    }
    where = attempts.c.task_id == ids(job, 1)[0]
    store.write(
        lambda c: c.execute(update(attempts).where(where).values(ended_at=1e12, outcome="lost"))
    )
    said = [b.said for b in audit(store, shelf, job.id, LIMIT).breaches if b.rule == "I4"]
    assert said[0].startswith("attempt 1 has ended")
