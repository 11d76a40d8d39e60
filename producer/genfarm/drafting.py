"""From inputs to checked tasks: precedence, seeds, ids, digest and comparison.

Pure: knows no store, no queue and no clock.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genfarm.batchfile import MAX_ID, Given, Source
from genfarm_shared.errors import InvalidTask, JobConflict
from genfarm_shared.kinds import Kind, batch_key, check_params
from genfarm_shared.tasks import Task, TaskRecord


@dataclass(frozen=True, slots=True)
class Order:
    """What the tasks of one submission have in common."""

    kind: Kind
    #: Registry key.
    model: str
    #: Below the parameters of each input, above the model's defaults.
    params: Mapping[str, Any]
    priority: int = 0

    @property
    def base_seed(self) -> Any:
        """Input i gets this plus i, unless it carries its own."""
        return self.params.get("seed", 0)


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at all inputs tells."""

    total: int
    #: Hex sha256 over kind, model and every task's id and parameters.
    digest: str


def default_id(index: int) -> str:
    """The custom_id of an input that brings none."""
    return f"{index:06d}"


def draft(order: Order, source: Source, job_id: str) -> Iterator[Task]:
    """The tasks of those inputs, in their order. Raises InvalidTask at the first fault."""
    ids = _Ids(source)
    for given in source.read():
        custom_id = ids.take(given)
        params = _check(order, source, given)
        values = params.model_dump()
        yield Task(
            id=f"{job_id}-{given.index}",
            job_id=job_id,
            index=given.index,
            custom_id=custom_id,
            kind=order.kind.name,
            model=order.model,
            batch_key=batch_key(order.model, params),
            rows=params.rows(),
            params=values,
            seed=values["seed"],
            priority=order.priority,
        )


def check_order(order: Order) -> None:
    """Check what is common before the first input is read. Raises InvalidTask."""
    known = order.kind.params.model_fields
    for name in order.params:
        if name not in known:
            raise InvalidTask(
                f"{name} is not a parameter of {order.kind.name}; expected some of: "
                f"{', '.join(known)}. Nothing was submitted",
                param=name,
            )
    if not isinstance(order.base_seed, int) or isinstance(order.base_seed, bool):
        raise InvalidTask(
            f"seed={order.base_seed!r}: expected a whole number, to which each input's place is "
            "added. Nothing was submitted",
            param="seed",
        )
    if order.priority not in range(10):
        raise InvalidTask(
            f"priority={order.priority!r}: expected 0 (normal) to 9 (most urgent)", param="priority"
        )


def survey(order: Order, source: Source) -> Survey:
    """Check every input and sum them up, holding none. Raises InvalidTask."""
    summing = Digest(order)
    total = 0
    for task in draft(order, source, ""):
        summing.add(task)
        total += 1
    if not total and source.file is not None:
        raise InvalidTask(f"{source.file} holds no input", param="inputs")
    return Survey(total, summing.hexdigest())


class Digest:
    """Identity of a job's content, whatever way it was written."""

    def __init__(self, order: Order) -> None:
        self._sum = hashlib.sha256(f"{order.kind.name}\n{order.model}\n".encode())

    def add(self, task: Task) -> None:
        # Parameters come in the order of their class, so nothing needs sorting.
        self._sum.update(json.dumps([task.custom_id, task.params]).encode())

    def hexdigest(self) -> str:
        return self._sum.hexdigest()


def check_same(job: str, chunk: Iterable[Task], records: Iterable[TaskRecord]) -> None:
    """Raise JobConflict at the first task that differs from the record of its index.

    Tasks without a record are taken for not yet written.
    """
    known = {record.index: record for record in records}
    for task in chunk:
        record = known.get(task.index)
        if record is None:
            continue
        now = {"custom_id": task.custom_id, **task.params}
        before = {"custom_id": record.custom_id, **record.params}
        for name in now | before:
            if now.get(name) != before.get(name):
                raise conflict(job, f"input {task.index}: {name}", before.get(name), now.get(name))


def conflict(job: str, what: str, before: object, now: object) -> JobConflict:
    """The error for a name that is taken by other content."""
    return JobConflict(
        f"a job named {job!r} exists with other content: {what} was {_short(before)} and is now "
        f"{_short(now)}. Nothing was submitted; choose another name, or pass on_conflict='new'"
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _check(order: Order, source: Source, given: Given) -> Any:
    seed = {"seed": order.base_seed + given.index}
    try:
        return check_params(order.kind, {**order.params, **seed, **given.values})
    except InvalidTask as error:
        where = source.place(given.index, given.line)
        raise InvalidTask(f"{where}: {error}", param=error.param, index=given.index) from None


class _Ids:
    """The custom_ids given so far. Holds only those that users gave."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._taken: dict[str, Given] = {}
        self._first_nameless: Given | None = None

    def take(self, given: Given) -> str:
        custom_id = given.custom_id
        if custom_id is None:
            custom_id = default_id(given.index)
            self._first_nameless = self._first_nameless or given
        else:
            self._check_shape(given, custom_id)
        earlier = self._taken.get(custom_id) or self._nameless_twin(given, custom_id)
        if earlier is not None:
            raise InvalidTask(
                f"{self._place(given)}: custom_id {custom_id!r} is taken by "
                f"{self._place(earlier)}; give every input its own",
                param="custom_id",
                index=given.index,
            )
        if given.custom_id is not None:
            # Without the values: a file's prompts must not be held.
            self._taken[custom_id] = Given(given.index, given.line, {})
        return custom_id

    def _nameless_twin(self, given: Given, custom_id: str) -> Given | None:
        """An earlier input without an id, whose number this id may repeat."""
        first = self._first_nameless
        if given.custom_id is None or first is None or not custom_id.isdecimal():
            return None
        number = int(custom_id) if len(custom_id) < 12 else given.index
        is_number = default_id(number) == custom_id and first.index <= number < given.index
        return first if is_number else None

    def _check_shape(self, given: Given, custom_id: str) -> None:
        # Half of a pair of surrogates, which JSON can spell, is no character to any store.
        is_text = (
            "\x00" not in custom_id and custom_id.encode(errors="ignore").decode() == custom_id
        )
        if not 1 <= len(custom_id) <= MAX_ID or not is_text:
            raise InvalidTask(
                f"{self._place(given)}: custom_id has {len(custom_id)} characters; expected 1 to "
                f"{MAX_ID}, none of them NUL or half a surrogate pair",
                param="custom_id",
                index=given.index,
            )

    def _place(self, given: Given) -> str:
        return self._source.place(given.index, given.line)
