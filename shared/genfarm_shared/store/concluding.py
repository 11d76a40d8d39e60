"""Rows of chains that end as they are written, and the rows that nothing came of yet.

A row that a worker is to run is inserted like any other (`inserting.py`). Those
here no worker runs: cut off from an item that ended in an earlier stage, refused
because nothing fit for its kind came, or the best of its rivals.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from genfarm_shared.chains import CUT_OFF, UNFIT, WITHDRAWN, ChainRecord, Plan, job_of, place_of
from genfarm_shared.schema import attempts, chains, results, tasks
from genfarm_shared.store.among import among
from genfarm_shared.store.database import SLICE, Database, insert_new
from genfarm_shared.store.inserting import is_orphan, withdrawn
from genfarm_shared.tasks import Artifact, State, Task

#: The worker of rows that no worker ran, in their books.
FARM = "chain"


@dataclass(frozen=True, slots=True)
class Due:
    """A row that has ended and that nothing came of yet; also the place to go on looking from."""

    finished_at: float = 0.0
    index: int = -1


@dataclass(frozen=True, slots=True)
class End:
    """A row that ends as it is written."""

    task: Task
    state: State
    #: The rows it comes of, as they were when that was found out: where one has changed since,
    #: because a person had it run again, nothing is written.
    parents: Mapping[str, State]
    reason_code: str | None = None
    reason: str | None = None
    output: Mapping[str, Any] | None = None
    artifacts: Sequence[Artifact] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    #: The chain that it ends with, where it ends for that alone; nothing is written once that
    #: goes on again.
    withdrawn: str | None = None


class Concluding(Database):
    """The verbs with which chains go on besides `insert`."""

    def find_due(self, chain: ChainRecord, stage: int, after: Due, limit: int = SLICE) -> list[Due]:
        """Ended rows of the stage before, of whose unit that stage has no row yet, in the order
        they ended."""
        step = chain.plan.steps[stage]
        parent, child = tasks.alias("parent"), tasks.alias("child")
        first = parent.c.index // step.fold * step.times
        mine = (child.c.job_id == job_of(chain.id, stage), child.c.index == first)
        ended, index = parent.c.finished_at, parent.c.index
        later = and_(ended == after.finished_at, index > after.index)
        statement = (
            select(ended, index)
            .where(
                parent.c.job_id == job_of(chain.id, stage - 1),
                ended.is_not(None),
                ended >= after.finished_at,
                or_(ended > after.finished_at, later),
                ~exists().where(*mine),
            )
            .order_by(ended, index)
            .limit(limit)
        )
        return self.read(lambda c: [Due(*row) for row in c.execute(statement)])

    def conclude(self, ends: Sequence[End]) -> list[str]:
        """Write rows that end at once, each with its books; returns the ids of those written.

        Rows already there stay, whoever wrote them. Raises JobConflict when their stage has been
        removed.
        """
        try:
            return self.write(lambda c: write_ends(c, ends, self.clock(c))) if ends else []
        except IntegrityError as error:
            if not is_orphan(error):
                raise
            raise withdrawn(ends[0].task.job_id) from error


def write_ends(connection: Connection, ends: Sequence[End], now: float) -> list[str]:
    """`Concluding.conclude` within a transaction."""
    hold_chains(connection, {place_of(end.task.id)[0] for end in ends})
    known = _hold_states(connection, {i for end in ends for i in end.parents})
    sound = [e for e in ends if all(known.get(i) == s for i, s in e.parents.items())]
    over = _withdrawn(connection, {end.withdrawn for end in sound} - {None})
    sound = [end for end in sound if end.withdrawn is None or end.withdrawn in over]
    if not sound:
        return []
    adding = insert_new(connection, tasks).returning(tasks.c.id)
    rows = [_task_row(end, now) for end in sound]
    written = set(connection.execute(adding, rows).scalars())
    _keep_books(connection, [end for end in sound if end.task.id in written], now)
    return sorted(written)


def hold_chains(connection: Connection, chain_ids: Collection[str]) -> None:
    """Have nobody else conclude or forget rows of those chains until the transaction ends.

    Before any lock on their tasks. Without it PostgreSQL, at a delete of what was cut off that
    waits for one row, would not see the later one that the same writer has not committed.
    """
    # Not against those who write inputs, whose foreign keys hold the chain's key.
    some = select(chains.c.id).where(chains.c.id.in_(sorted(chain_ids))).order_by(chains.c.id)
    connection.execute(some.with_for_update(key_share=True)).all()


def reopen(connection: Connection, chain_id: str, *, is_wanted: bool) -> None:
    """Have keepers look after a chain again; where it is wanted again, withdrawn no more."""
    opened = update(chains).where(chains.c.id == chain_id)
    values: dict[str, Any] = {"ended_at": None, "retries": chains.c.retries + 1}
    connection.execute(opened.values(values | ({"cancelled": False} if is_wanted else {})))


def forget_later(connection: Connection, task_ids: Sequence[str]) -> None:
    """Forget what was decided of the later rows of those tasks of one chain because these had
    come to nothing: what was cut off, and choices that found nothing to choose."""
    if not task_ids:
        return
    chain_id = place_of(task_ids[0])[0]
    stages = select(chains.c.stages).where(chains.c.id == chain_id)
    plan = Plan.from_json(connection.execute(stages).scalar_one())
    cut, choices = set[str](), set[str]()
    for _, stage, index in map(place_of, task_ids):
        for later, rows in plan.later(stage, index).items():
            ids = {f"{job_of(chain_id, later)}-{row}" for row in rows}
            cut |= ids
            choices |= ids if plan.steps[later].by is not None else set()
    for ids, codes in ((cut, (CUT_OFF, WITHDRAWN)), (choices, (UNFIT,))):
        gone = delete(tasks).where(among(tasks.c.id, "ids"), tasks.c.reason_code.in_(codes))
        connection.execute(gone, {"ids": sorted(ids)})


def _hold_states(connection: Connection, task_ids: Collection[str]) -> dict[str, State]:
    """The states of those tasks, which nobody changes until the transaction ends."""
    held = select(tasks.c.id, tasks.c.state).where(among(tasks.c.id, "ids")).with_for_update()
    rows = connection.execute(held, {"ids": sorted(task_ids)})
    return {row.id: State(row.state) for row in rows}


def _withdrawn(connection: Connection, chain_ids: Collection[str | None]) -> set[str]:
    """Those of the chains, which the transaction holds, that are withdrawn."""
    if not chain_ids:
        return set()
    over = select(chains.c.id).where(chains.c.id.in_(chain_ids), chains.c.cancelled)
    return set(connection.execute(over).scalars())


def _keep_books(connection: Connection, ends: Sequence[End], now: float) -> None:
    """An attempt for what was tried here, and a result for what was found."""
    tried = [_attempt_row(end, now) for end in ends if end.state is not State.CANCELLED]
    found = [_result_row(end, now) for end in ends if end.state is State.SUCCEEDED]
    for table, rows in ((attempts, tried), (results, found)):
        if rows:
            connection.execute(insert(table), rows)


def _task_row(end: End, now: float) -> dict[str, Any]:
    was_tried = end.state is not State.CANCELLED
    return {
        **asdict(end.task),
        "state": end.state,
        "attempt": int(was_tried),
        "worker_id": FARM if was_tried else None,
        "created_at": now,
        "claimed_at": now if was_tried else None,
        "finished_at": now,
        "reason_code": end.reason_code,
        "reason": end.reason,
    }


def _attempt_row(end: End, now: float) -> dict[str, Any]:
    return {
        "task_id": end.task.id,
        "attempt": 1,
        "worker_id": FARM,
        "started_at": now,
        "ended_at": now,
        "outcome": end.state,
        "reason": end.reason,
    }


def _result_row(end: End, now: float) -> dict[str, Any]:
    return {
        "task_id": end.task.id,
        "attempt": 1,
        "worker_id": FARM,
        "output": dict(end.output or {}),
        "artifacts": [asdict(artifact) for artifact in end.artifacts],
        "metrics": dict(end.metrics),
        "recorded_at": now,
    }
