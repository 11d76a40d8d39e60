"""One loaded engine with the tasks that wait for it and the tasks it holds.

Admits in order of arrival, the batch keys in turns, never two of them where the engine
refuses it, and keeps a fault from spreading: a step that raises is repeated one task at
a time, and only a task that raises alone fails; a step that runs out of
memory is repeated with half as many tasks, and how many were enough is
remembered (`ceilings.py`). Knows no pipe and no model.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Engine, Glimpse, Output, Work
from genfarm_workers.engines.ceilings import Ceilings
from genfarm_workers.engines.memory import free_memory, is_device_lost, is_out_of_memory
from genfarm_workers.rounds import Rounds

logger = logging.getLogger(__name__)

#: Engine loads that one batch key gets before another that waits: an engine that takes one key
#: at a time runs empty in between, which costs about half a load. Not measured.
TURN_LOADS = 4
#: Characters of a stranger's error message that go into a failure.
_MESSAGE_LIMIT = 300
#: Characters by which a quoted prompt is recognised.
_QUOTED = 20
#: What an engine may raise: a fault of its own, or a library's wish to end the process, which
#: would look like success and take the batch mates along.
RAISED = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)


class DeviceLost(Exception):
    """No call on this device will work again in this process. Holds no prompt."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A task from the moment the engine is given it."""

    claim: Claim
    #: Monotonic seconds.
    since: float


class Resident:
    """All calls come from one thread; `drop` may come from within `advance`."""

    def __init__(
        self, engine: Engine, clock: Callable[[], float], ceilings: Mapping[str, int] | None = None
    ) -> None:
        """`ceilings` is what an earlier engine process found out of memory's limits."""
        self._engine = engine
        self._clock = clock
        #: Batch key to its waiting tasks, and whose turn it is among the keys.
        self._waiting: dict[str, deque[Claim]] = {}
        self._turns: Rounds[str] = Rounds()
        #: Tasks of a step that raised, each to be run alone.
        self._suspects: deque[Claim] = deque()
        self._is_trial = False
        self._held: dict[str, _Held] = {}
        self._ceilings = Ceilings(ceilings or {}, clock())
        #: A glimpse has raised, so that no more are asked for.
        self._is_opaque = False
        self._shortages = 0

    @property
    def slots(self) -> int:
        """Batch rows of its engine."""
        return self._engine.slots

    @property
    def work(self) -> Work:
        """What its engine has computed."""
        return self._engine.work

    @property
    def shortages(self) -> int:
        """How often memory ran out: for a step, or for a call that the engine made smaller."""
        return self._shortages + self.work.shortages

    def enqueue(self, claim: Claim) -> None:
        self._waiting.setdefault(claim.batch_key, deque()).append(claim)
        self._turns.join(claim.batch_key, self._turn())

    def is_busy(self) -> bool:
        """Whether it has tasks, waiting or held."""
        return bool(self._held or self._waiting or self._suspects)

    def advance(self) -> list[Output]:
        """Admit what fits, do one step if one is due, and return the tasks that ended."""
        try:
            self._admit()
            now = self._clock()
            due = self._engine.wakes_at(now)
            if due is None:
                return self._forgotten()
            if due > now:
                return []
            return self._finished(self._engine.step(now))
        except RAISED as error:
            if is_device_lost(error):
                raise DeviceLost(self._spell_loss(error)) from None
            logger.warning(
                "a step raised %s with %s tasks held; they run again, apart",
                type(error).__name__,
                len(self._held),
            )
            failure, is_memory = _describe(error), is_out_of_memory(error)
        # Outside the except block: its traceback would keep the tensors alive.
        return self._recover(failure, is_memory=is_memory)

    def wakes_at(self, now: float) -> float | None:
        """When `advance` is next worth calling, None while it has nothing to do."""
        if not self._held:
            return now if self._waiting or self._suspects else None
        return now if self._can_admit() else self._engine.wakes_at(now)

    def ceilings(self) -> dict[str, int]:
        """The most tasks that memory was enough for, by batch key."""
        return self._ceilings.known()

    def drop(self, task_ids: Sequence[str]) -> None:
        """Forget tasks, waiting or running."""
        gone = set(task_ids)
        for key, claims in list(self._waiting.items()):
            self._set_waiting(key, deque(claim for claim in claims if claim.task_id not in gone))
        self._suspects = deque(claim for claim in self._suspects if claim.task_id not in gone)
        held = [task_id for task_id in gone if self._held.pop(task_id, None) is not None]
        if held:
            self._engine.drop(held)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """How far those of the tasks are that the engine holds. Never raises."""
        held = [task_id for task_id in task_ids if task_id in self._held]
        if not held or self._is_opaque:
            return []
        try:
            glimpses = self._engine.glimpses(held)
            return [_certain(glimpse, self._held[glimpse.task_id].claim) for glimpse in glimpses]
        except RAISED as error:  # who looks on may cost a task nothing
            self._is_opaque = True
            logger.warning("a glimpse raised %s; no more are taken", type(error).__name__)
        free_memory()
        return []

    def _can_admit(self) -> bool:
        """Whether a waiting task would join those that are held."""
        if self._is_trial or not self._waiting:
            return False
        key = self._next_key()
        return self._spare_tasks(key) > 0 and self._waiting[key][0].rows <= self._engine.free_rows(
            key
        )

    def _next_key(self) -> str:
        return next(iter(self._turns))

    def _turn(self) -> int:
        """Rows that a turn is worth."""
        return TURN_LOADS * self._engine.slots

    def _admit(self) -> None:
        if self._is_trial and self._held:
            return
        self._ceilings.relax(self._engine.slots, self._clock())
        self._is_trial = bool(self._suspects)
        if self._is_trial:
            if not self._held:
                self._hand_over([self._suspects.popleft()])
            return
        while self._waiting:
            key = self._next_key()
            claims = self._take_fitting(key)
            if not claims:
                return
            self._hand_over(claims)
            if key in self._waiting:
                self._turns.charge(key, sum(claim.rows for claim in claims), self._turn())

    def _take_fitting(self, key: str) -> list[Claim]:
        """The oldest tasks of that key that fit; a task wider than the engine goes alone."""
        waiting, fitting = self._waiting[key], list[Claim]()
        rows = self._engine.free_rows(key)
        tasks = self._spare_tasks(key)
        while waiting and len(fitting) < tasks:
            is_alone = not self._held and not fitting
            if waiting[0].rows > rows and not is_alone:
                break
            rows -= waiting[0].rows
            fitting.append(waiting.popleft())
        self._set_waiting(key, waiting)
        return fitting

    def _spare_tasks(self, key: str) -> int:
        """How many tasks more memory is believed to be enough for."""
        allowed = self._ceilings.allowed(key)
        return sys.maxsize if allowed is None else allowed - len(self._held)

    def _set_waiting(self, key: str, claims: deque[Claim]) -> None:
        if claims:
            self._waiting[key] = claims
        else:
            self._waiting.pop(key, None)
            self._turns.leave(key)

    def _hand_over(self, claims: Sequence[Claim]) -> None:
        now = self._clock()
        self._held.update((claim.task_id, _Held(claim, now)) for claim in claims)
        self._engine.admit(claims)

    def _finished(self, outputs: Sequence[Output]) -> list[Output]:
        """Outputs of tasks still wanted, with the metrics every engine shares."""
        now, together = self._clock(), len(self._held)
        finished = []
        for output in outputs:
            held = self._held.pop(output.task_id, None)
            if held is None:
                continue
            shared = {"batch_size": together, "engine_seconds": round(now - held.since, 6)}
            finished.append(replace(output, metrics={**shared, **output.metrics}))
        return finished

    def _forgotten(self) -> list[Output]:
        """An engine that holds nothing owes nothing; without this its task would wait for ever."""
        failure = Failure("internal", "the engine ended without a result. This is a bug")
        forgotten, self._held = list(self._held), {}
        return [Output(task_id, failure=failure) for task_id in forgotten]

    def _recover(self, failure: Failure, *, is_memory: bool) -> list[Output]:
        claims = [held.claim for held in self._held.values()]
        self._held.clear()
        self._engine.drop([claim.task_id for claim in claims])
        if is_memory:
            self._shortages += 1
            free_memory()
        if len(claims) == 1:
            return [Output(claims[0].task_id, failure=_without_prompt(failure, claims[0]))]
        if not is_memory:
            self._suspects.extend(claims)
            return []
        for key in dict.fromkeys(claim.batch_key for claim in claims):
            mates = [claim for claim in claims if claim.batch_key == key]
            self._ceilings.lower(key, len(claims), self._clock())
            self._waiting[key] = deque([*mates, *self._waiting.get(key, ())])
            self._turns.join(key, self._turn())
        return []

    def _spell_loss(self, error: BaseException) -> str:
        """The first line: the rest is advice on debugging CUDA."""
        failure = Failure("device_lost", str(error).strip().partition("\n")[0])
        for held in self._held.values():
            failure = _without_prompt(failure, held.claim)
        return failure.message


def _certain(glimpse: Glimpse, claim: Claim) -> Glimpse:
    """Without the end of the text that may turn out to begin a stop string, and be cut off."""
    ends = [
        length
        for stop in claim.params.get("stop", ())
        for length in range(1, len(stop))
        if glimpse.text.endswith(stop[:length])
    ]
    return replace(glimpse, text=glimpse.text[: len(glimpse.text) - max(ends, default=0)])


def _describe(error: BaseException) -> Failure:
    said = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        return Failure(
            "oom",
            f"out of memory with this task alone ({said}). Lower its size or the model's slots",
        )
    return Failure("internal", f"the engine raised for this task alone: {said}")


def _without_prompt(failure: Failure, claim: Claim) -> Failure:
    """Other people's errors quote their input; a failure is shown and logged."""
    message = failure.message
    for value in claim.params.values():
        if isinstance(value, str) and value:
            for quoted in (value, repr(value)[1:-1]):
                message = message.replace(quoted, "…")
            # A quotation that was cut, or escaped in another way: nothing behind its beginning.
            message = message.partition(value[:_QUOTED])[0] if len(value) > _QUOTED else message
    return replace(failure, message=message[:_MESSAGE_LIMIT])
