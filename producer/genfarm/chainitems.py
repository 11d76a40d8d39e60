"""Items of a chain as inputs of its first stage, each tried on the later ones as it is read.

Knows the store only to write items down where a later stage looks at them again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import create_model

from genfarm.batchfile import MAX_ID, Given, Source, open_source
from genfarm.drafting import Order, default_id, draft
from genfarm.files import keeper
from genfarm.link import Link
from genfarm.stages import try_out
from genfarm_shared.chains import INPUT, Plan, child_seed, spell_plan
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import Kind, check_params
from genfarm_shared.sight import Sight
from genfarm_shared.templates import fill, names_of, paths_of

#: Items written in one transaction.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Items:
    """What a chain is to make something of."""

    inputs: object
    id_from: str | Callable[[Any], str] | None = None
    #: Item i gets this plus i, unless it carries its own.
    seed: int = 0


class Reader:
    """Items as the first stage's inputs."""

    def __init__(self, link: Link, plan: Plan, order: Order, items: Items) -> None:
        self._link = link
        self._plan = plan
        self._order = order
        self._step = plan.steps[0]
        keep = keeper(lambda: link.artifacts)
        self._items = open_source(_widened(order.kind, plan), items.inputs, items.id_from, keep)
        #: The chain whose items are written down as they are read, for stages that look at them.
        self.keeps_for: str | None = None
        #: Items that were read for that chain and are not written down yet.
        self._unwritten: dict[int, Mapping[str, Any]] = {}
        self.source = _Source(
            self.read,
            self._items.is_repeatable,
            self._items.file,
            self._settle,
            times=self._step.times,
        )

    def read(self) -> Iterator[Given]:
        """The rows of the first stage. Raises InvalidTask for an item that some stage refuses."""
        for given in self._items.read():
            item = dict(given.values)
            seed = item.pop("seed", self._order.base_seed + given.index)
            custom_id = given.custom_id
            if self._step.times > 1 and custom_id is None:
                custom_id = default_id(given.index)
            self._check(given, item)
            if self.keeps_for is not None and self._plan.keeps_inputs:
                self._unwritten[given.index] = item
            for twin in range(self._step.times):
                yield self._row(given, item, seed, custom_id, twin)

    def digest(self) -> str:
        """Identity of the chain's content; checks every item. Raises InvalidTask."""
        summing = hashlib.sha256(spell_plan(self._plan).encode())
        for task in draft(self._order, self.source, ""):
            summing.update(f"{task.custom_id}\0{task.params}\0".encode())
        for place, item in self._inputs():
            summing.update(f"{place}\0{json.dumps(item, sort_keys=True)}\0".encode())
        return summing.hexdigest()

    def write_inputs(self, chain_id: str) -> None:
        """Write the items down where a later stage looks at them."""
        chunk: dict[int, Mapping[str, Any]] = {}
        for place, item in self._inputs():
            chunk[place] = item
            if len(chunk) == CHUNK:
                self._link.store.insert_inputs(chain_id, chunk)
                chunk = {}
        self._link.store.insert_inputs(chain_id, chunk)

    def _settle(self) -> None:
        """Write down the items of the tasks that are to be written."""
        if self.keeps_for is not None:
            self._link.store.insert_inputs(self.keeps_for, self._unwritten)
            self._unwritten.clear()

    def _inputs(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if self._plan.keeps_inputs:
            for given in self._items.read():
                yield given.index, {k: v for k, v in given.values.items() if k != "seed"}

    def _check(self, given: Given, item: Mapping[str, Any]) -> None:
        """Try the later stages on the item: the first in full, the others where a stage looks at
        what they say."""
        is_first = given.index == 0
        if not is_first and not self._plan.keeps_inputs:
            return
        where = self._items.place(given.index, given.line)
        try:
            values = self._values(item, 0)
            params = check_params(self._order.kind, values).model_dump() if is_first else values
            if self._plan.keeps_inputs:
                json.dumps(item)
            try_out(self._plan, item, params, only_inputs=not is_first)
        except InvalidTask as error:
            raise InvalidTask(f"{where}: {error}", param=error.param, index=given.index) from None
        except (TypeError, ValueError) as error:
            raise InvalidTask(
                f"{where}: a later stage looks at the item, and it is no JSON: {error}",
                index=given.index,
            ) from error

    def _row(
        self, given: Given, item: Mapping[str, Any], seed: Any, custom_id: str | None, twin: int
    ) -> Given:
        values, times = self._values(item, twin), self._step.times
        is_number = isinstance(seed, int)
        values["seed"] = child_seed(seed, 0, twin) if times > 1 and is_number else seed
        if times > 1:
            custom_id = f"{custom_id}.{twin}"
        if custom_id is not None and len(custom_id) + 3 * self._fans() > MAX_ID:
            raise InvalidTask(
                f"{self._items.place(given.index, given.line)}: custom_id has "
                f"{len(custom_id)} characters; a chain with {self._fans()} fans adds to it, "
                f"and {MAX_ID} are the most",
                param="custom_id",
                index=given.index,
            )
        return Given(given.index * times + twin, given.line, values, custom_id)

    def _values(self, item: Mapping[str, Any], twin: int) -> dict[str, Any]:
        """The first task's parameters: what the stage says without a hole, then the item, then
        what the stage makes of it."""
        sight, extra = Sight(self._plan, 0, {}, item, twin), self._extra()
        params = self._step.params
        fixed = {name: fill(value, sight.look_up) for name, value in params.items()}
        own = {name: value for name, value in item.items() if name not in extra}
        made = {name: fixed[name] for name, value in params.items() if paths_of(value)}
        return {**fixed, **own, **made}

    def _extra(self) -> set[str]:
        return _extra(self._order.kind, self._plan)

    def _fans(self) -> int:
        return sum(step.times > 1 for step in self._plan.steps)


@dataclass(frozen=True, slots=True)
class _Source(Source):
    """Rows of the first stage, of which several may come of one item."""

    #: Rows of an item.
    times: int = 1

    def place(self, index: int, line: int | None) -> str:
        return Source.place(self, index // self.times, line)


def _extra(kind: Kind, plan: Plan) -> set[str]:
    """What items may say beside the first stage's parameters: what some template asks for."""
    asked = set[str]().union(*(names_of(step.params, INPUT) for step in plan.steps))
    return {name for name in asked if name.isidentifier()} - kind.params.model_fields.keys()


def _widened(kind: Kind, plan: Plan) -> Kind:
    """The kind as the items of the chain are: columns that templates ask for are no mistakes."""
    extra: dict[str, Any] = dict.fromkeys(_extra(kind, plan), (Any, None))
    return replace(kind, params=create_model("Item", __base__=kind.params, **extra))
