"""What comes of ended rows in the next stage of their chain: tasks, or rows that end unrun.

Reads the store and writes nothing; the same rows always bring forth the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from genfarm_shared.chains import CUT_OFF, UNFIT, WITHDRAWN, ChainRecord, Plan, best_of, job_of
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import batch_key, encode_params
from genfarm_shared.provenance import CHOSEN
from genfarm_shared.sight import Sight, view
from genfarm_shared.store import Store
from genfarm_shared.store.concluding import End
from genfarm_shared.tasks import State, Task, TaskRecord
from genfarm_shared.templates import read_path


@dataclass(slots=True)
class Born:
    """What is to be written."""

    tasks: list[Task] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Family:
    """Ended rows and the stage that they go on to."""

    chain: ChainRecord
    plan: Plan
    #: The stage that is to be written.
    stage: int
    #: Ended rows of the stage before, by index.
    parents: Mapping[int, TaskRecord]


def bring_forth(store: Store, family: Family, units: Sequence[int]) -> Born:
    """What those units of the stage make, where all their rows have ended."""
    plan, stage, parents = family.plan, family.stage, family.parents
    rows = {unit: plan.parents(stage, unit) for unit in units}
    groups = {
        unit: [parents[row] for row in mine]
        for unit, mine in rows.items()
        if all(row in parents for row in mine)
    }
    good = [r for group in groups.values() for r in group if r.state is State.SUCCEEDED]
    sights = _sights(store, family, good)
    born = Born()
    for unit, group in groups.items():
        if family.chain.cancelled or not any(r.state is State.SUCCEEDED for r in group):
            born.ends += _cut_off(family, unit, group)
        elif plan.steps[stage].by is not None:
            born.ends.append(_choose(family, unit, group, sights))
        else:
            _bear(family, unit, group[0], sights, born)
    return born


def trace(
    store: Store, chain_id: str, plan: Plan, record: TaskRecord, stage: int
) -> dict[int, TaskRecord]:
    """The rows that a row of that stage comes of, by stage, itself among them.

    Of rivals the chosen one; where none was, what came before them is left out.
    """
    return _trails(store, chain_id, plan, stage, [record], range(stage))[0]


def _sights(store: Store, family: Family, records: Sequence[TaskRecord]) -> dict[int, Sight]:
    """What the stage's templates see of each of those rows, by their indexes."""
    chain, plan, stage = family.chain, family.plan, family.stage
    sources = {plan.stage_of(stage, path) for path in plan.steps[stage].paths()}
    needed = {source for source in sources if source is not None}
    trails = _trails(store, chain.id, plan, stage - 1, records, needed)
    places = [plan.item(stage - 1, record.index) for record in records]
    items = store.read_inputs(chain.id, places) if plan.takes_input(stage) and places else {}
    return {
        record.index: Sight(
            plan, stage, {at: view(one) for at, one in trail.items()}, items.get(place)
        )
        for record, trail, place in zip(records, trails, places, strict=True)
    }


def _trails(
    store: Store,
    chain_id: str,
    plan: Plan,
    stage: int,
    records: Sequence[TaskRecord],
    needed: Collection[int],
) -> list[dict[int, TaskRecord]]:
    """For each row of that stage the rows it comes of, in the stages that are needed."""
    trails = [{stage: record} for record in records]
    rows: list[int | None] = [record.index for record in records]
    for at in range(stage, min(needed, default=stage), -1):
        before = at - 1
        rows = [_origin(plan, at, row, trail) for row, trail in zip(rows, trails, strict=True)]
        if before in needed or plan.steps[before].by is not None:
            job_id = job_of(chain_id, before)
            ids = {f"{job_id}-{row}" for row in rows if row is not None}
            found = {record.index: record for record in store.read_tasks(sorted(ids))}
            for row, trail in zip(rows, trails, strict=True):
                if row in found:
                    trail[before] = found[row]
    return trails


def _origin(plan: Plan, stage: int, row: int | None, trail: Mapping[int, TaskRecord]) -> int | None:
    """The row of the stage before that a row comes of; None where that cannot be said."""
    step = plan.steps[stage]
    if row is None or step.by is None:
        return None if row is None else row // step.times
    chosen = trail[stage].metrics.get("chosen") if stage in trail else None
    return None if chosen is None else row * step.fold + chosen


def _bear(
    family: Family, unit: int, parent: TaskRecord, sights: Mapping[int, Sight], born: Born
) -> None:
    """The tasks that one row makes."""
    plan, stage = family.plan, family.stage
    step = plan.steps[stage]
    for twin, row in enumerate(plan.children(stage, unit)):
        sight = sights[parent.index]
        sight = Sight(plan, stage, sight.seen, sight.item, twin)
        blank = _blank(family, row, [parent])
        try:
            params = sight.params(parent.seed)
        except InvalidTask as error:
            born.ends.append(_unfit(blank, [parent], str(error)))
            continue
        born.tasks.append(
            Task(
                id=blank.id,
                job_id=blank.job_id,
                index=row,
                custom_id=blank.custom_id,
                kind=step.kind,
                model=step.model,
                batch_key=batch_key(step.model, params),
                rows=params.rows(),
                params=encode_params(params),
                seed=params.seed,  # type: ignore[attr-defined]  # every kind has one
                priority=family.chain.priority,
            )
        )


def _choose(
    family: Family, unit: int, group: Sequence[TaskRecord], sights: Mapping[int, Sight]
) -> End:
    """The best of rivals, which ends as it did; its row says which it was, and every score."""
    step = family.plan.steps[family.stage]
    assert step.by is not None  # noqa: S101  # the caller looked
    by = read_path(step.by)
    scores = [sights[r.index].score(by) if r.index in sights else None for r in group]
    chosen = best_of(scores)
    blank = _blank(family, family.plan.children(family.stage, unit)[0], group)
    if chosen is None:
        return _unfit(blank, group, f"none of its {len(group)} rivals has a number at {by}")
    best = group[chosen]
    blank.params, blank.seed = best.params, best.seed
    return End(
        blank,
        State.SUCCEEDED,
        _states(group),
        output=best.output,
        artifacts=best.artifacts,
        # Its signature names the row that was made: who asks for it is sent there.
        metrics={"chosen": chosen, "scores": scores, CHOSEN: best.metrics.get(CHOSEN, best.id)},
    )


def _cut_off(family: Family, unit: int, group: Sequence[TaskRecord]) -> list[End]:
    """Rows that nothing came to."""
    stage = family.stage - 1
    failed = next((record for record in group if record.state is not State.SUCCEEDED), group[0])
    # Something could have come of it, had the chain gone on.
    is_withdrawn = any(record.state is State.SUCCEEDED for record in group)
    if is_withdrawn:
        said = "the chain was cancelled"
    elif failed.reason_code in (CUT_OFF, WITHDRAWN) and failed.reason is not None:
        said = failed.reason
    else:
        name = family.plan.steps[stage].name
        said = f"stage {stage + 1} ({name}) {failed.state}: task {failed.id}"
    return [
        End(
            _blank(family, row, group),
            State.CANCELLED,
            _states(group),
            WITHDRAWN if is_withdrawn else CUT_OFF,
            said,
            withdrawn=family.chain.id if is_withdrawn else None,
        )
        for row in family.plan.children(family.stage, unit)
    ]


def _unfit(blank: Task, group: Sequence[TaskRecord], said: str) -> End:
    return End(blank, State.FAILED, _states(group), UNFIT, said)


def _states(group: Sequence[TaskRecord]) -> dict[str, State]:
    return {record.id: record.state for record in group}


def _blank(family: Family, row: int, group: Sequence[TaskRecord]) -> Task:
    """A row before it is known what it is asked."""
    step, job_id = family.plan.steps[family.stage], job_of(family.chain.id, family.stage)
    custom_id = group[0].custom_id
    if step.times > 1:
        custom_id = f"{custom_id}.{row % step.times}"
    elif step.by is not None:
        custom_id = custom_id.rpartition(".")[0]
    return Task(
        id=f"{job_id}-{row}",
        job_id=job_id,
        index=row,
        custom_id=custom_id,
        kind=step.kind,
        model=step.model,
        batch_key=step.model,
        rows=1,
        params={},
        seed=group[0].seed,
        priority=family.chain.priority,
    )
