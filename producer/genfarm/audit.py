"""The rules of the books: what must hold for every task, whatever struck the farm.

    I1  what was acknowledged has ended, and no row of it is missing
    I2  one result and one success where the task succeeded, and none elsewhere
    I4  attempts numbered without a gap, each ended, one after the other
    I5  no way out of a terminal state but an explicit retry
    I6  every artefact is there, with the size and hash of its row  (`fsck.py`)
    I7  nothing cancelled shows a result
    I8  attempts and verdicts within their limits

I3 (the right content) and I9 (a failed submit is whole or absent) need to know
what was asked for: `torture/check.py` holds them. Writes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from genfarm.fsck import Inspector, Shelf
from genfarm_shared.store import Store
from genfarm_shared.store.books import Attempt, Entry, Extent
from genfarm_shared.tasks import State

#: Entries read from the store at once; bounds memory, not measured.
PAGE = 500
#: Breaches of a job that are kept, so that a damaged farm does not fill the memory.
KEPT = 1000
#: Outcomes of an attempt after which its task is in a terminal state.
FINAL = frozenset({"succeeded", "failed", "cancelled", "quarantined"})
#: Outcomes that count as one of a task's losses.
LOSSES = frozenset({"lost", "retried"})
#: Outcomes with which a task may have come to its state, where the state says so at all.
ENDS = {
    State.SUCCEEDED: ("succeeded",),
    # The last of too many workers may have died with it.
    State.FAILED: ("failed", "lost"),
    State.QUARANTINED: ("quarantined",),
}


class Harm(StrEnum):
    """What a breach means for the owner of a task."""

    LOST = "lost"
    TWICE = "duplicated"
    WRONG = "wrong"
    #: It ended otherwise than it should.
    FATE = "fate"
    #: The books do not agree, and the result is what it should be.
    BOOKS = "books"


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule."""

    #: `I1` to `I10`.
    rule: str
    #: The task, or the job where no task is at fault.
    subject: str
    #: What is wrong, with the rows that show it.
    said: str
    harm: Harm = Harm.BOOKS


@dataclass(slots=True)
class Statement:
    """What an audit counted and what it found."""

    job_id: str
    #: Inputs the job has; None while they are being written, or when that broke off.
    total: int | None
    rows: int
    states: Counter[str] = field(default_factory=Counter)
    results: int = 0
    artifacts: int = 0
    bytes: int = 0
    #: Attempts by outcome; `open` for those that have not ended.
    attempts: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    #: Tasks that have not ended.
    open: int = 0
    #: Attempts that a task may use, as this audit was told; workers may have been told others.
    max_attempts: int = 0
    #: Breaches by rule, all of them; the first KEPT are kept whole.
    broken: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)

    def add(self, breaches: Iterable[Breach]) -> None:
        for breach in breaches:
            self.broken[breach.rule] += 1
            if len(self.breaches) < KEPT:
                self.breaches.append(breach)


def audit(
    store: Store, shelf: Shelf, job_id: str, max_attempts: int, *, must_end: bool = True
) -> Statement:
    """Check every row and file of a job. Raises Unreachable.

    Memory grows with the files alone, by a digest of each. Unless it `must_end`, a job that
    is still being written or run breaks no rule by that; `open` counts its tasks.
    """
    extent = store.measure(job_id)
    found = Statement(job_id, extent.total, extent.rows, max_attempts=max_attempts)
    if must_end or extent.total is not None:
        found.add(_missing(job_id, extent))
    index, inspector = -1, Inspector(shelf)
    while entries := store.read_entries(job_id, index, PAGE):
        index = entries[-1].index
        for entry in entries:
            _count(found, entry)
        suspects = [e.id for e in entries if any(judge(e, max_attempts, must_end=must_end))]
        # A task may move between the statements of one page: a breach is believed when a
        # second look shows it too.
        again = store.reread_entries(suspects) if suspects else []
        for entry in again:
            found.add(judge(entry, max_attempts, must_end=must_end))
        found.add(_files(inspector, entries))
    return found


def judge(entry: Entry, max_attempts: int, *, must_end: bool = True) -> Iterator[Breach]:
    """Every rule that the rows of one task break."""
    for rule, harm, check in RULES:
        for said in check(entry) if must_end or check is not _ended else ():
            yield Breach(rule, entry.id, f"{said}; {_rows(entry)}", harm)
    for said in _limits(entry, max_attempts):
        yield Breach("I8", entry.id, f"{said}; {_rows(entry)}", Harm.FATE)


def _missing(job_id: str, extent: Extent) -> Iterator[Breach]:
    total, rows, last = extent.total, extent.rows, extent.last
    if total is None:
        if extent.released:
            said = f"its inputs are still being written; {rows} rows so far"
            yield Breach("I1", job_id, said, Harm.LOST)
        return
    if rows != total or (last is not None and last != total - 1):
        yield Breach(
            "I1", job_id, f"it has {total} inputs and {rows} rows, the last of index {last}"
        )


def _files(inspector: Inspector, entries: Sequence[Entry]) -> Iterator[Breach]:
    for entry in entries:
        for artifact in entry.result.artifacts if entry.result else ():
            for said in inspector.inspect(artifact):
                yield Breach("I6", entry.id, said, Harm.WRONG)


def _count(found: Statement, entry: Entry) -> None:
    found.states[entry.state.value] += 1
    found.open += not entry.state.is_terminal
    found.attempts.update(attempt.outcome or "open" for attempt in entry.attempts)
    found.retries += entry.retries
    if entry.result is not None:
        found.results += 1
        found.artifacts += len(entry.result.artifacts)
        found.bytes += sum(artifact.size for artifact in entry.result.artifacts)


def _ended(entry: Entry) -> Iterator[str]:
    if not entry.state.is_terminal:
        yield "it has not ended"


def _result_kept(entry: Entry) -> Iterator[str]:
    if entry.state is State.SUCCEEDED and entry.result is None:
        yield "it succeeded and has no result"


def _one_success(entry: Entry) -> Iterator[str]:
    if entry.result is not None and entry.state not in (State.SUCCEEDED, State.CANCELLED):
        yield "it has a result and did not succeed"
    if sum(attempt.outcome == "succeeded" for attempt in entry.attempts) > 1:
        yield "more than one attempt succeeded"


def _attempts_whole(entry: Entry) -> Iterator[str]:
    numbers = [attempt.number for attempt in entry.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "its attempts are not numbered from 1 without a gap"
    if entry.attempt != max(numbers, default=0):
        yield "its row counts other attempts than the audit"
    wins = [attempt for attempt in entry.attempts if attempt.outcome == "succeeded"]
    if entry.result is not None and not _is_of(entry, wins):
        yield "its result is not of the attempt that succeeded"
    last = entry.attempts[-1] if entry.attempts else None
    if entry.state in ENDS and (last is None or last.outcome not in ENDS[entry.state]):
        yield f"it {entry.state} and its last attempt did not"


def _is_of(entry: Entry, wins: Sequence[Attempt]) -> bool:
    result = entry.result
    return result is not None and [(result.attempt, result.worker_id)] == [
        (win.number, win.worker_id) for win in wins
    ]


def _attempts_in_turn(entry: Entry) -> Iterator[str]:
    running = entry.state is State.RUNNING
    for attempt in entry.attempts:
        may_run = running and attempt.number == entry.attempt
        if (attempt.ended_at is None or attempt.outcome is None) != may_run:
            yield f"attempt {attempt.number} {'has' if may_run else 'has not'} ended"
        if attempt.ended_at is not None and attempt.ended_at < attempt.started_at:
            yield f"attempt {attempt.number} ended before it started"
    for one, other in pairwise(entry.attempts):
        if one.ended_at is not None and other.started_at < one.ended_at:
            yield f"attempt {other.number} started before attempt {one.number} had ended"


def _no_way_back(entry: Entry) -> Iterator[str]:
    final = [attempt for attempt in entry.attempts if attempt.outcome in FINAL]
    if len(final) > entry.retries + entry.state.is_terminal:
        yield f"{len(final)} attempts ended it, and it was retried {entry.retries} times"
    if any(attempt.outcome == "succeeded" for attempt in entry.attempts[:-1]):
        yield "it ran again after it had succeeded"
    if entry.state.is_terminal != (entry.finished_at is not None):
        yield "its state and its time of ending do not agree"
    if entry.finished_at is not None and any(
        attempt.started_at > entry.finished_at for attempt in entry.attempts
    ):
        yield "an attempt started after it had ended"
    withdrawn = entry.reason_code in ("cancelled", "expired", "quarantined")
    if withdrawn and entry.state != entry.reason_code:
        yield f"it was {entry.reason_code} and is {entry.state}"


def _nothing_cancelled_shows(entry: Entry) -> Iterator[str]:
    won = any(attempt.outcome == "succeeded" for attempt in entry.attempts)
    if entry.state is State.CANCELLED and (won or entry.result is not None):
        yield "it was cancelled and shows a result"


def _limits(entry: Entry, max_attempts: int) -> Iterator[str]:
    lost = sum(attempt.outcome in LOSSES for attempt in entry.attempts)
    if entry.losses > max_attempts or lost > max_attempts * (entry.retries + 1):
        yield f"{lost} attempts were lost, more than {max_attempts} allow"
    if entry.state is State.QUARANTINED and entry.crashes < 2:
        yield "it was convicted without a crash before its last"


#: Each rule looks at one task; I8 also needs the farm's limit.
RULES: Sequence[tuple[str, Harm, Callable[[Entry], Iterator[str]]]] = (
    ("I1", Harm.LOST, _ended),
    ("I2", Harm.LOST, _result_kept),
    ("I2", Harm.TWICE, _one_success),
    ("I4", Harm.BOOKS, _attempts_whole),
    ("I4", Harm.BOOKS, _attempts_in_turn),
    ("I5", Harm.BOOKS, _no_way_back),
    ("I7", Harm.TWICE, _nothing_cancelled_shows),
)


def _rows(entry: Entry) -> str:
    """The rows that show it, in one line; times in seconds from the start of its first attempt."""
    zero = entry.attempts[0].started_at if entry.attempts else None
    tries = ", ".join(
        f"{a.number} {a.outcome} {_after(a.started_at, zero)} to {_after(a.ended_at, zero)} "
        f"by {a.worker_id}"
        for a in entry.attempts
    )
    result = f"attempt {entry.result.attempt} by {entry.result.worker_id}" if entry.result else None
    return (
        f"state={entry.state} attempt={entry.attempt} losses={entry.losses} "
        f"crashes={entry.crashes} retries={entry.retries} "
        f"ended={_after(entry.finished_at, zero)} "
        f"reason={entry.reason_code} result={result} attempts=[{tries}]"
    )


def _after(at: float | None, zero: float | None) -> str:
    if at is None:
        return "never"
    return f"{at:.3f} (UTC)" if zero is None else f"{at - zero:+.3f} s"
