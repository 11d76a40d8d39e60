"""From inputs to checked tasks: precedence, seeds, ids, digest and comparison.

Pure: knows no store, no queue and no clock.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genfarm.batchfile import MAX_ID, Given, Source
from genfarm.taken import Taken
from genfarm_shared.errors import InvalidTask, JobConflict
from genfarm_shared.kinds import Kind, batch_key, check_params, encode_params
from genfarm_shared.tasks import Task, TaskRecord

#: What tasks a survey may hold, so that their inputs need not be read and checked again: 65,000
#: with an ordinary prompt. More would be felt in a producer's memory.
HELD_BYTES = 32 * 2**20
#: What a task takes besides its custom_id and parameters, by tracemalloc.
TASK_BYTES = 360


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
    #: Every task, where all of them take no more than HELD_BYTES; else None.
    tasks: list[Task] | None


def default_id(index: int) -> str:
    """The custom_id of an input that brings none."""
    return f"{index:06d}"


def draft(order: Order, source: Source, job_id: str) -> Iterator[Task]:
    """The tasks of those inputs, in their order. Raises InvalidTask at the first fault."""
    ids, keys = _Ids(source), dict[tuple[object, ...], str]()
    name, model, priority, common = order.kind.name, order.model, order.priority, order.params
    base_seed = order.base_seed
    for given in source.read():
        index, custom_id = given.index, ids.take(given)
        values = {**common, "seed": base_seed + index, **given.values}
        try:
            params = check_params(order.kind, values)
        except InvalidTask as error:
            where = source.place(index, given.line)
            raise InvalidTask(f"{where}: {error}", param=error.param, index=index) from None
        shape = params.shape()
        key = keys.get(shape)
        if key is None:
            key = keys[shape] = batch_key(model, params)
        yield Task(
            f"{job_id}-{index}",
            job_id,
            index,
            custom_id,
            name,
            model,
            key,
            params.rows(),
            encode_params(params),
            values["seed"],
            priority,
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


def survey(order: Order, source: Source, job_id: str) -> Survey:
    """Check every input and sum them up, holding few. Raises InvalidTask."""
    summing, total, size = Digest(order), 0, 0
    held: list[Task] | None = []
    for task in draft(order, source, job_id):
        size += summing.add(task)
        total += 1
        if held is not None:
            held.append(task)
            if size + total * TASK_BYTES > HELD_BYTES:
                held = None
    if not total and source.file is not None:
        raise InvalidTask(f"{source.file} holds no input", param="inputs")
    return Survey(total, summing.hexdigest(), held)


class Digest:
    """Identity of a job's content, whatever way it was written."""

    def __init__(self, order: Order) -> None:
        self._sum = hashlib.sha256(f"{order.kind.name}\n{order.model}\n".encode())

    def add(self, task: Task) -> int:
        """Sum a task up; returns how many bytes that was."""
        # Neither holds a NUL. Parameters come in the order of their class: nothing to sort.
        content = f"{task.custom_id}\0{task.params}\0".encode()
        self._sum.update(content)
        return len(content)

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
        params = json.loads(task.params) if isinstance(task.params, str) else task.params
        now = {"custom_id": task.custom_id, **params}
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


class _Ids:
    """The custom_ids given so far. Holds only those that users gave."""

    def __init__(self, source: Source) -> None:
        self._source = source
        #: By its place: the line of a file, else the index.
        self._taken = Taken()
        self._first_nameless: Given | None = None

    def take(self, given: Given) -> str:
        if given.custom_id is None:
            custom_id = default_id(given.index)
            self._first_nameless = self._first_nameless or given
            earlier = self._taken.find(custom_id) if self._taken else None
        else:
            custom_id = given.custom_id
            self._check_shape(given, custom_id)
            earlier = self._nameless_twin(given, custom_id)
            if earlier is None:
                earlier = self._taken.put(custom_id, _place_of(given))
        if earlier is not None:
            line = None if given.line is None else earlier
            raise InvalidTask(
                f"{self._place(given)}: custom_id {custom_id!r} is taken by "
                f"{self._source.place(earlier, line)}; give every input its own",
                param="custom_id",
                index=given.index,
            )
        return custom_id

    def _nameless_twin(self, given: Given, custom_id: str) -> int | None:
        """The place of an earlier input without an id, whose number this id may repeat."""
        first = self._first_nameless
        if first is None or not custom_id.isdecimal():
            return None
        number = int(custom_id) if len(custom_id) < 12 else given.index
        is_number = default_id(number) == custom_id and first.index <= number < given.index
        return _place_of(first) if is_number else None

    def _check_shape(self, given: Given, custom_id: str) -> None:
        # Half of a pair of surrogates, which JSON can spell, is no character to any store.
        is_text = custom_id.isascii() or custom_id.encode(errors="ignore").decode() == custom_id
        is_text = is_text and "\x00" not in custom_id
        if not 1 <= len(custom_id) <= MAX_ID or not is_text:
            raise InvalidTask(
                f"{self._place(given)}: custom_id has {len(custom_id)} characters; expected 1 to "
                f"{MAX_ID}, none of them NUL or half a surrogate pair",
                param="custom_id",
                index=given.index,
            )

    def _place(self, given: Given) -> str:
        return self._source.place(given.index, given.line)


def _place_of(given: Given) -> int:
    return given.index if given.line is None else given.line
