"""Moves the items of chains from stage to stage.

    recorder ─ ended tasks ─▶ AdvancerThread ─▶ Advancer.advance      at once
    keeper ─ every round ──▶ Advancer.sweep                           what that missed

Runs in every worker process, never in a client: a chain goes on whoever dies.
Two at once, or one that begins again after a crash, write the same rows under
the same ids, and the second finds them there. Knows no SQL and no engine.
"""

import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from genfarm_shared.chains import ChainRecord, Plan, job_of, place_of
from genfarm_shared.errors import JobConflict, NotFound, Unreachable
from genfarm_shared.keeper import dispatch
from genfarm_shared.offspring import Family, bring_forth
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.store.chaining import Standing
from genfarm_shared.store.concluding import Due
from genfarm_shared.store.reading import OVERLAP
from genfarm_shared.tasks import Hint, Task, TaskRecord

log = logging.getLogger(__name__)

#: Chains whose stages are kept in mind.
REMEMBERED = 64
#: Rows of the stage before that one transaction goes through at most.
TOGETHER = 500
#: The same of a sweep, which looks at its time after each: about 50 ms on SQLite.
SWEPT = 100
#: Chains that one round looks after; of more they take turns. A look takes some milliseconds.
LOOKED_AFTER = 20


@dataclass(frozen=True, slots=True)
class _Known:
    """A chain and its plan, which never change; whether it was withdrawn is asked anew."""

    chain: ChainRecord
    plan: Plan


#: A chain, how often it was taken up again, and a stage.
_Gap = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far the ended rows before a stage have been gone through."""

    #: All that ended before then was.
    gone_to: float
    #: The last end so far, UTC seconds, and when that was first seen, monotonic seconds.
    last: float | None
    seen_at: float
    #: Where a pass up to the last end ran out of time.
    broken_off: Due | None = None


class Advancer:
    """Writes down what comes of ended tasks, and hands it on. Not for two threads at once."""

    def __init__(self, store: Store, broker: Broker, window: int) -> None:
        self._store = store
        self._broker = broker
        self._window = window
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: The chain that had its turn last, and those of this round.
        self._turn = ""
        self._round: set[str] = set()
        #: When a sweep is to end, monotonic seconds.
        self._until = math.inf
        #: Chains whose fault was told already.
        self._sick: set[str] = set()
        #: How far the ended rows before each stage have been gone through.
        self._marks: dict[_Gap, _Mark] = {}

    def advance(self, task_ids: Iterable[str]) -> int:
        """Have every stage that waited for those tasks of chains go on; returns how many rows
        were written. Raises Unreachable: a keeper makes up for it."""
        units: dict[tuple[str, int], set[int]] = {}
        for chain_id, stage, index in map(place_of, task_ids):
            known = self._recall(chain_id)
            if known is not None and stage + 1 < len(known.plan.steps):
                unit = known.plan.unit(stage + 1, index)
                units.setdefault((chain_id, stage + 1), set()).add(unit)
        return sum(
            self._go_on(self._known[chain_id], stage, sorted(found))
            for (chain_id, stage), found in units.items()
            if chain_id in self._known
        )

    def sweep(self, seconds: float = math.inf) -> None:
        """See that nothing was left behind in any chain, as far as that many seconds allow; the
        next sweep goes on from there. Raises Unreachable."""
        self._until = time.monotonic() + seconds
        page = self._store.open_chains(self._turn, LOOKED_AFTER)
        for chain in page:
            self._turn = chain.id
            self._round.add(chain.id)
            self._try_to_look_after(chain)
            if self._is_late() and chain is not page[-1]:
                return
        if len(page) < LOOKED_AFTER:
            self._marks = {gap: mark for gap, mark in self._marks.items() if gap[0] in self._round}
            self._turn, self._round = "", set()

    def _is_late(self) -> bool:
        return time.monotonic() >= self._until

    def _try_to_look_after(self, chain: ChainRecord) -> None:
        try:
            self._look_after(self._remember(chain))
        except JobConflict as error:
            log.warning("chain %s ends, for a stage was removed: %s", chain.id, error)
            self._store.shut_chain(chain.id)
        except Unreachable:
            raise
        except Exception:  # one chain must not end every worker that looks after it
            if chain.id not in self._sick:
                log.exception("chain %s does not go on. This is a bug", chain.id)
            self._sick.add(chain.id)

    def _look_after(self, known: _Known) -> None:
        chain, plan = known.chain, known.plan
        if chain.cancelled:
            for job_id in chain.job_ids:
                self._store.cancel(job_id, of_chain=chain.id)
        written = 0
        for stage in range(1, len(plan.steps)):
            written += self._catch_up(known, stage)
            if written and self._is_late():
                return
        if written or not self._store.seal_stages(chain):
            return
        if self._store.look_over(chain) is Standing.STALLED:
            # What a clock that was set back has hidden: all of it is gone through again.
            for stage in range(1, len(plan.steps)):
                self._marks.pop((chain.id, chain.retries, stage), None)

    def _catch_up(self, known: _Known, stage: int) -> int:
        """Go through what has ended before that stage since the last look; returns rows."""
        chain, written, now = known.chain, 0, time.monotonic()
        gap = (chain.id, chain.retries, stage)
        mark = self._marks.get(gap, _Mark(0.0, None, now))
        if mark.broken_off is None:
            last = self._store.pace(job_of(chain.id, stage - 1), 0.0).last_at
            if last is None or (last == mark.last and now - mark.seen_at > OVERLAP):
                return 0
            mark = _Mark(mark.gone_to, last, mark.seen_at if last == mark.last else now)
        due = mark.broken_off or Due(mark.gone_to)
        while found := self._store.find_due(chain, stage, due, SWEPT):
            due = found[-1]
            units = {known.plan.unit(stage, one.index) for one in found}
            written += self._go_on(known, stage, sorted(units), is_deep=False)
            if self._is_late():
                self._marks[gap] = replace(mark, broken_off=due)
                return written
        assert mark.last is not None  # noqa: S101  # a pass begins with one
        # A transaction may show later than one that ended after it.
        self._marks[gap] = replace(mark, gone_to=mark.last - OVERLAP, broken_off=None)
        return written

    def _go_on(
        self, known: _Known, stage: int, units: Sequence[int], *, is_deep: bool = True
    ) -> int:
        """Write what those units make and, where it is to go deep, what follows of what ends with
        it; returns rows."""
        step, written = known.plan.steps[stage], 0
        most = max(TOGETHER // max(step.fold, step.times), 1)
        for start in range(0, len(units), most):
            some = units[start : start + most]
            written += self._write(known, stage, some, is_deep=is_deep)
        return written

    def _write(self, known: _Known, stage: int, units: Sequence[int], *, is_deep: bool) -> int:
        family = Family(known.chain, known.plan, stage, self._parents(known, stage, units))
        born = bring_forth(self._store, family, units)
        self._hand_on(born.tasks)
        ended = self._store.conclude(born.ends)
        further = self.advance(ended) if ended and is_deep else 0
        return len(born.tasks) + len(ended) + further

    def _parents(self, known: _Known, stage: int, units: Sequence[int]) -> Mapping[int, TaskRecord]:
        job_id = job_of(known.chain.id, stage - 1)
        rows = [row for unit in units for row in known.plan.parents(stage, unit)]
        records = self._store.read_tasks([f"{job_id}-{row}" for row in rows], ended=True)
        return {record.index: record for record in records}

    def _hand_on(self, tasks: Sequence[Task]) -> None:
        """Write tasks down and publish them, as far as there is room."""
        if not tasks:
            return
        queued = tasks[: self._store.insert(tasks, self._window)]
        hints = [Hint(t.id, t.kind, t.model, t.batch_key, t.rows, t.priority) for t in queued]
        try:
            if hints:
                self._broker.publish(hints)
            if len(queued) < len(tasks):
                dispatch(self._store, self._broker, self._window)
        except Unreachable:
            with suppress(Unreachable):
                self._store.requeue([task.id for task in queued])

    def _recall(self, chain_id: str) -> _Known | None:
        """The chain of an ended task; None where it was removed, or withdrawn, which is for
        `sweep`: what is kept in mind is not asked again whether it still is."""
        known = self._known.get(chain_id)
        if known is None or known.chain.cancelled:
            try:
                known = self._remember(self._store.find_chain(chain_id))
            except NotFound:
                return None
        return None if known.chain.cancelled else known

    def _remember(self, chain: ChainRecord) -> _Known:
        known = self._known[chain.id] = _Known(chain, chain.plan)
        self._known.move_to_end(chain.id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


class AdvancerThread(threading.Thread):
    """Has chains go on as soon as tasks of theirs are recorded."""

    def __init__(self, advancer: Advancer) -> None:
        super().__init__(name="advancer", daemon=True)
        self._advancer = advancer
        self._ended: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

    def hand_in(self, task_ids: Sequence[str]) -> None:
        """Those tasks of chains have ended. May be called from any thread."""
        self._ended.put(task_ids)

    def stop(self) -> None:
        """Go on with what was handed in, then end."""
        self._ended.put(None)

    def run(self) -> None:
        more = self._ended.get()
        while more is not None:
            gathered = list(more)
            while not self._ended.empty() and len(gathered) < TOGETHER:
                more = self._ended.get()
                if more is None:
                    break
                gathered += more
            self._advance(gathered)
            more = None if more is None else self._ended.get()

    def _advance(self, task_ids: Sequence[str]) -> None:
        try:
            self._advancer.advance(task_ids)
        except (Unreachable, JobConflict) as error:
            log.warning("%d tasks of chains go on later: %s", len(task_ids), error)
        except Exception:  # the others' tasks are looked after by the keeper, one chain at a time
            log.exception("%d tasks of chains did not go on", len(task_ids))
