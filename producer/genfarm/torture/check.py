"""The verdict: what was asked and told, held against every row and file. Writes nothing.

`audit.py` holds the rules that any job must keep; here are those that need to
know what was asked: content (I3), fates (I8), and submissions that failed (I9). `run.py`
adds I10: a malformed message is found in dead letters, and nothing but a strike ends a worker.
"""

import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from genfarm.audit import Breach, Harm, audit
from genfarm.fsck import Shelf
from genfarm.torture.driver import Asked
from genfarm.torture.plan import Flavour, Input, fates
from genfarm_shared import drill
from genfarm_shared.errors import NotFound
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, State, TaskRecord

#: Records read from the store at once.
PAGE = 500
#: Jobs of a run, more than any plan has.
MOST_JOBS = 100_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run knows besides its rows."""

    asked: Sequence[Asked]
    #: Tasks of cancelled jobs as they stood right after.
    sightings: Mapping[str, State]
    #: Attempts that a task may use.
    max_attempts: int
    #: UTC seconds between which an engine was being ended from outside: a suspect that ran alone
    #: there is convicted, and innocent.
    engine_strikes: Sequence[tuple[float, float]] = ()


@dataclass(slots=True)
class Verdict:
    """What was counted and what is wrong."""

    #: Tasks of every job whose submission returned, or was found whole.
    tasks: int = 0
    #: Submissions that failed.
    failed_submissions: int = 0
    states: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)

    def harmed(self, harm: Harm) -> int:
        """How many tasks or jobs suffered that."""
        return len({breach.subject for breach in self.breaches if breach.harm is harm})


def judge_run(store: Store, shelf: Shelf, evidence: Evidence) -> Verdict:
    """Hold everything asked for against the rows. Raises Unreachable."""
    verdict, known = Verdict(), set[str]()
    for one in evidence.asked:
        job = _find(store, one)
        if one.job_id is None:
            verdict.failed_submissions += 1
            verdict.breaches += _half_there(store, one, job)
        known |= one.ids | ({job.id} if job is not None else set())
        if job is not None and (job.released or job.total is not None):
            statement = audit(store, shelf, job.id, evidence.max_attempts)
            verdict.tasks += statement.rows
            verdict.states += statement.states
            verdict.attempts += statement.attempts
            # How many inputs a submission that broke off had, nobody knows: its tasks count.
            verdict.breaches += [
                b for b in statement.breaches if job.total is not None or b.subject != job.id
            ]
            verdict.breaches += _contents(store, shelf, one, job, evidence)
        verdict.breaches += _submissions(one, job)
    verdict.breaches += _sightings(store, evidence.sightings)
    verdict.breaches += _strangers(store, known)
    return verdict


def _strangers(store: Store, known: Collection[str]) -> Iterator[Breach]:
    for job in store.list_jobs(MOST_JOBS):
        if job.id not in known:
            said = f"nobody asked for this job, or it is there twice: {job.name}"
            yield Breach("I9", job.id, said, Harm.TWICE)


def _find(store: Store, asked: Asked) -> JobRecord | None:
    try:
        return store.find_job(asked.job_id or asked.order.name)
    except NotFound:
        return None


def _submissions(asked: Asked, job: JobRecord | None) -> Iterator[Breach]:
    name, wanted = asked.order.name, len(asked.order.inputs)
    if len(asked.ids) > 1:
        yield Breach("I9", name, f"submitted twice, it became {sorted(asked.ids)}", Harm.TWICE)
    if asked.job_id is not None and (job is None or job.total != wanted):
        found = None if job is None else job.total
        yield Breach("I1", name, f"{wanted} tasks were acknowledged, {found} are there", Harm.LOST)


def _half_there(store: Store, asked: Asked, job: JobRecord | None) -> Iterator[Breach]:
    """A submission that raised: absent, or unreleased and untouched, or whole.

    A generator's job is none of these by its contract: what it gave is withdrawn.
    """
    name, flavour = asked.order.name, asked.order.flavour
    said = f"its submission failed ({asked.refusal[:200]}) and"
    if job is None:
        return
    if flavour in (Flavour.INVALID, Flavour.INTERRUPTED):
        yield Breach("I9", name, f"{said} job {job.id} is there", Harm.BOOKS)
        return
    if flavour in (Flavour.BROKEN, Flavour.STREAMED):
        return  # every task of it must have ended in a right way, which is checked as for others
    if not job.released:
        begun = [r.id for r in _records(store, job.id) if r.attempt or r.state is not State.PENDING]
        if begun:
            yield Breach("I9", name, f"{said} tasks of it ran: {begun[:5]}", Harm.BOOKS)
    elif job.total != len(asked.order.inputs):
        said = f"{said} {job.total} of {len(asked.order.inputs)} tasks may run"
        yield Breach("I9", name, said, Harm.BOOKS)


def _contents(
    store: Store, shelf: Shelf, asked: Asked, job: JobRecord, evidence: Evidence
) -> Iterator[Breach]:
    order = asked.order
    # What a failed generator or a cancelled job may also end as is the plan's to say; a submission
    # that was given up may have been withdrawn with it.
    given_up = asked.job_id is None and order.flavour is Flavour.STREAMED
    flavour = Flavour.BROKEN if given_up else order.flavour
    for record in _records(store, job.id):
        if record.index >= len(order.inputs):
            yield Breach("I1", record.id, "nobody asked for it", Harm.WRONG)
            continue
        task = order.inputs[record.index]
        allowed = fates(flavour, task)
        if any(
            start <= (record.finished_at or 0.0) < end for start, end in evidence.engine_strikes
        ):
            allowed |= {State.QUARANTINED}
        if record.state.is_terminal and record.state not in allowed:
            wanted = " or ".join(sorted(allowed))
            said = f"it should have {wanted} and {record.state}: {record.reason_code}"
            yield Breach("I8", record.id, f"{said} ({record.reason}); asked {task}", Harm.FATE)
        if record.state is State.SUCCEEDED:
            for said in _wrong_content(shelf, record, task):
                yield Breach("I3", record.id, f"{said}; asked {task}", Harm.WRONG)


def _wrong_content(shelf: Shelf, record: TaskRecord, task: Input) -> Iterator[str]:
    seed, text = task["seed"], task["text"]
    if dict(record.output or {}) != {"answer": drill.answer(seed, text)}:
        yield f"its output is {record.output}"
    wanted = 1 if task.get("picture") else 0
    if len(record.artifacts) != wanted:
        yield f"it has {len(record.artifacts)} artefacts instead of {wanted}"
    for artifact in record.artifacts:
        try:
            with Image.open(io.BytesIO(shelf.read(artifact.name))) as picture:
                drawn = picture.convert("RGB").tobytes()
        except (NotFound, OSError) as error:
            yield f"its picture cannot be read: {error}"
            continue
        if drawn != drill.pixels(seed, text):
            yield f"its picture {artifact.name} shows something else"


def _sightings(store: Store, sightings: Mapping[str, State]) -> Iterator[Breach]:
    """Tasks of jobs that were cancelled: ended when `cancel` returned, and the same ever since."""
    ids = list(sightings)
    for start in range(0, len(ids), PAGE):
        for record in store.read_tasks(ids[start : start + PAGE]):
            seen = sightings[record.id]
            if not seen.is_terminal:
                said = f"it was {seen} after its cancellation had returned"
                yield Breach("I7", record.id, said, Harm.TWICE)
            elif seen is not record.state:
                said = f"it was {seen} after its cancellation and is {record.state}"
                yield Breach("I5", record.id, said, Harm.TWICE)


def _records(store: Store, job_id: str) -> Iterator[TaskRecord]:
    index = -1
    while page := store.read_after(job_id, index, PAGE):
        yield from page
        index = page[-1].index
