"""A chain: stages that each item passes, one after the other; and the arithmetic of its rows.

    draw x4 ──▶ judge ──▶ best ──▶ caption      stage, job <chain>.<stage>
     0 1 2 3     0 1 2 3     0        0         rows of item 0
     4 5 6 7     4 5 6 7     1        1         rows of item 1

A stage's rows come from the rows of the stage before in units: of each row it
makes `times` twins, or of each `fold` rows it keeps the best. So a row's index
says where it came from, its id is known before it is written, and nobody can
write it twice. Pure: knows no store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from genfarm_shared.seeds import derive_seed
from genfarm_shared.templates import TWIN, Path, paths_of, read_path

#: Begins the id of every chain, and so of its jobs and tasks: whoever has a task in hand sees
#: without asking whether it is a chain's.
PREFIX = "chain_"
#: Most stages of a chain, and most rows of one item in a stage. Bound what one ended task can
#: set in motion; not measured.
MAX_STAGES, MAX_WIDTH = 32, 64
#: The reason code of a row that nothing came to: its item ended in an earlier stage.
CUT_OFF = "stage_failed"
#: The reason code of a row whose stage made no task of what came to it.
UNFIT = "unfit"
#: The reason code of a row that nothing came of, because its chain was cancelled by then.
WITHDRAWN = "chain_cancelled"
#: Rows that never were a task, so that none can be run again.
NEVER_RUN = (CUT_OFF, WITHDRAWN, UNFIT)
#: The item itself, in a template.
INPUT = "input"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage as it is recorded."""

    name: str
    kind: str
    #: Registry key.
    model: str
    #: Values and templates of its parameters.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Rows that it makes of each row of the stage before, each with a seed of its own.
    times: int = 1
    #: Of how many rows of the stage before it keeps the best; 1: it is a task of its own.
    fold: int = 1
    #: The path whose value is highest in the best; None where nothing is chosen.
    by: str | None = None

    def paths(self) -> list[Path]:
        """Everything that it takes from earlier stages and from the item."""
        chosen = [] if self.by is None else [read_path(self.by)]
        return [path for value in self.params.values() for path in paths_of(value)] + chosen


@dataclass(frozen=True)
class Plan:
    """The stages of a chain, in order."""

    steps: tuple[Step, ...]

    @classmethod
    def from_json(cls, stages: Sequence[Mapping[str, Any]]) -> "Plan":
        return cls(tuple(Step(**stage) for stage in stages))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(step) for step in self.steps]

    def width(self, stage: int) -> int:
        """Rows of one item in that stage."""
        return self._widths[stage]

    def unit(self, stage: int, index: int) -> int:
        """The unit of that stage which a row of the stage before belongs to."""
        return index // self.steps[stage].fold

    def parents(self, stage: int, unit: int) -> range:
        """Rows of the stage before that a unit of that stage waits for."""
        fold = self.steps[stage].fold
        return range(unit * fold, unit * fold + fold)

    def children(self, stage: int, unit: int) -> range:
        """Rows of that stage that a unit of it makes."""
        times = self.steps[stage].times
        return range(unit * times, unit * times + times)

    def later(self, stage: int, index: int) -> dict[int, range]:
        """Rows of each later stage that come of that row, alone or with its rivals."""
        rows, found = range(index, index + 1), dict[int, range]()
        for after in range(stage + 1, len(self.steps)):
            first = self.children(after, self.unit(after, rows[0]))
            last = self.children(after, self.unit(after, rows[-1]))
            rows = found[after] = range(first[0], last[-1] + 1)
        return found

    def stage_of(self, stage: int, path: Path) -> int | None:
        """The stage that a path in that stage takes from; None for the item or a twin's number."""
        if path.root in (INPUT, TWIN):
            return None
        names = [step.name for step in self.steps[:stage]]
        return names.index(path.root) if path.root in names else stage - 1

    def takes_input(self, stage: int) -> bool:
        return any(path.root == INPUT for path in self.steps[stage].paths())

    def item(self, stage: int, index: int) -> int:
        """The place of the item that a row belongs to."""
        return index // self.width(stage)

    @cached_property
    def _widths(self) -> list[int]:
        widths = accumulate(self.steps, lambda w, s: w * s.times // s.fold, initial=1)
        return [*widths][1:]

    @property
    def keeps_inputs(self) -> bool:
        """Whether a later stage takes from the items, so that they are written down as well."""
        return any(self.takes_input(stage) for stage in range(1, len(self.steps)))


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """A chain as it stands in the store."""

    id: str
    #: Its stages, see `Step`.
    stages: Sequence[Mapping[str, Any]]
    created_at: float
    #: The name, or the digest of the content; None for a nameless stream.
    identity: str | None = None
    name: str | None = None
    priority: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Withdrawn: what has no row yet gets none that runs.
    cancelled: bool = False
    #: How often tasks of it were run again.
    retries: int = 0
    #: When every row of every stage had ended; None while keepers look after it.
    ended_at: float | None = None

    @property
    def plan(self) -> Plan:
        return Plan.from_json(self.stages)

    @property
    def job_ids(self) -> list[str]:
        """The jobs of its stages."""
        return [job_of(self.id, stage) for stage in range(len(self.stages))]


def job_of(chain_id: str, stage: int) -> str:
    """The id of a stage's job."""
    return f"{chain_id}.{stage}"


def chain_of(job_id: str) -> str:
    """The chain that a stage's job belongs to."""
    return job_id.rpartition(".")[0]


def is_stage(job_id: str) -> bool:
    """Whether a job is a stage of a chain."""
    return job_id.startswith(PREFIX)


def is_fed(job_id: str) -> bool:
    """Whether a job is a later stage, whose rows come of the stage before."""
    return is_stage(job_id) and not job_id.endswith(".0")


def place_of(task_id: str) -> tuple[str, int, int]:
    """The chain, stage and index of a chain's task."""
    job_id, _, index = task_id.rpartition("-")
    chain_id, _, stage = job_id.rpartition(".")
    return chain_id, int(stage), int(index)


def child_seed(seed: int, stage: int, twin: int) -> int:
    """The seed of a row, from that of the row it comes of: apart for every stage and twin, so that
    two stages of one model do not draw the same noise."""
    return derive_seed("chain", seed, stage, twin)


def best_of(scores: Sequence[float | None]) -> int | None:
    """The place of the highest score, the first of equals; None where there is none."""
    known = [(score, -place) for place, score in enumerate(scores) if score is not None]
    return -max(known)[1] if known else None


def spell_plan(plan: Plan) -> str:
    """The stages as one text, equal for equal plans."""
    return json.dumps(plan.to_json(), sort_keys=True)
