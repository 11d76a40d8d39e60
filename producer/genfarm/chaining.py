"""Writing a chain down: its head, its stages' jobs, then its first stage like any other job.

What may run of it does so with the first stage's seal, when all else is there.
Knows no result.
"""

import time
from contextlib import suppress
from dataclasses import replace

from genfarm.batchfile import Source
from genfarm.chainitems import Items, Reader
from genfarm.drafting import Order, check_order
from genfarm.label import Label, Request, identity_of, new_id
from genfarm.link import Link
from genfarm.models import list_models
from genfarm.stages import Stages, make_plan
from genfarm.submission import write
from genfarm_shared.chains import PREFIX, ChainRecord, Plan, spell_plan
from genfarm_shared.errors import JobConflict, NotFound, Unreachable
from genfarm_shared.kinds import find_kind
from genfarm_shared.tasks import JobRecord


def write_chain(
    link: Link,
    stages: Stages,
    items: Items,
    label: Label,
    priority: int = 0,
    *,
    progress: bool | None = None,
) -> ChainRecord:
    """Write a chain down to its last item. Raises InvalidTask, JobConflict, Unreachable."""
    label.check()
    plan = make_plan(
        stages, list_models(link.store.list_workers(everyone=True)), _known(link, label)
    )
    first = plan.steps[0]
    order = Order(find_kind(first.kind), first.model, {"seed": items.seed}, priority)
    check_order(order)
    reader = Reader(plan, order, items)
    digest = reader.digest() if reader.source.is_repeatable else None
    link.check_broker()
    chain, is_ours = _open(link, plan, label, digest, priority)
    try:
        _write_stages(link, chain, label)
        if digest is None:
            reader.keep = lambda place, item: link.store.insert_inputs(chain.id, {place: item})
        else:
            reader.write_inputs(link, chain.id)
        write(link, _first(order, reader.source, chain, label), progress=progress)
        link.store.seal_stages(chain)
    except BaseException:
        if is_ours:
            with suppress(Unreachable):  # without its first stage it never runs
                link.store.drop_chain(chain)
        raise
    return chain


def _known(link: Link, label: Label) -> Plan | None:
    """The plan of the chain that bears the name."""
    if label.name is None or label.on_conflict != "resume":
        return None
    try:
        return link.store.find_chain(label.name).plan
    except NotFound:
        return None


def _open(
    link: Link, plan: Plan, label: Label, digest: str | None, priority: int
) -> tuple[ChainRecord, bool]:
    """The chain of that name or content, and whether this call began it."""
    identity = label.name if digest is None else identity_of(label, digest)
    wanted = ChainRecord(
        id=new_id(PREFIX),
        stages=plan.to_json(),
        created_at=time.time(),
        identity=identity,
        name=label.name,
        priority=priority,
        metadata=dict(label.metadata),
    )
    chain, is_ours = link.store.open_chain(wanted)
    if is_ours or label.on_conflict == "resume":
        if spell_plan(chain.plan) != spell_plan(plan):
            said = f"chain {chain.name or chain.id} exists with other stages"
            raise JobConflict(
                f"{said}: {_said(chain.plan, plan)}. Nothing was submitted; choose "
                "another name, or pass on_conflict='new'"
            )
        return chain, is_ours
    if label.on_conflict == "error":
        raise JobConflict(
            f"chain {chain.name or chain.id} exists already ({chain.id}); pass "
            "on_conflict='resume' to attach to it, or 'new' for a fresh run"
        )
    link.store.disown_chain(chain.id)
    return link.store.open_chain(wanted)


def _said(before: Plan, now: Plan) -> str:
    """Where two plans part."""
    for number, (old, new) in enumerate(zip(before.steps, now.steps, strict=False), 1):
        for part in ("name", "kind", "model", "params", "times", "fold", "by"):
            if getattr(old, part) != getattr(new, part):
                return f"stage {number} ({old.name}) has another {part}"
    return f"it has {len(before.steps)} and not {len(now.steps)}"


def _write_stages(link: Link, chain: ChainRecord, label: Label) -> None:
    """The jobs of the later stages, whose rows the farm will write."""
    for stage, step in enumerate(chain.plan.steps[1:], 1):
        link.store.open_job(
            JobRecord(
                id=chain.job_ids[stage],
                kind=step.kind,
                model=step.model,
                params=dict(step.params),
                created_at=time.time(),
                name=_name(chain, stage),
                priority=chain.priority,
                metadata=dict(chain.metadata),
                released=True,
                deadline=label.deadline,
            )
        )


def _first(order: Order, source: Source, chain: ChainRecord, label: Label) -> Request:
    own = replace(label, name=_name(chain, 0), on_conflict="resume", job_id=chain.job_ids[0])
    return Request(order, source, own)


def _name(chain: ChainRecord, stage: int) -> str | None:
    """What `genfarm jobs ls` calls a stage of a named chain."""
    if chain.name is None:
        return None
    return f"{chain.name[:130]}/{chain.plan.steps[stage].name}"
