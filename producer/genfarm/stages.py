"""Stages as a person writes them, and the plan that they make.

    [Stage("text-to-image", prompt="a drawing of {input}", times=4),
     Stage("image-classification", name="judge"),
     Best("score"),
     Stage("image-to-text", image="{text-to-image.image}")]

`times` opens a fan and `Best` closes the nearest one, as brackets do. Knows no
store: whether a plan can work is tried on examples before anything is written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from genfarm.models import Model, choose_model
from genfarm_shared.chains import INPUT, MAX_STAGES, MAX_WIDTH, Plan, Step
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import KINDS, Kind, find_kind
from genfarm_shared.sight import Sight, sample
from genfarm_shared.templates import TWIN, read_path

#: A stage's name: what a template's first word may be.
_NAME = re.compile(r"[A-Za-z_][\w-]{0,63}")


class Stage:
    """One stage of a chain: a task of that kind for each row that comes to it.

    `params` are the kind's; a text among them is a template: `{input}`, `{text}`
    or `{image}` of the stage before, `{draw.image}` of the one of that name.
    Without its main parameter it takes the item, or the text or picture of the
    stage before. `times` makes so many rows of each, apart by their seeds.
    """

    def __init__(
        self,
        kind: str,
        /,
        *,
        name: str | None = None,
        model: str | None = None,
        times: int = 1,
        **params: Any,
    ) -> None:
        self.kind = kind
        self.name = name
        self.model = model
        self.times = times
        self.params: Mapping[str, Any] = params

    def __repr__(self) -> str:
        shown = {"name": self.name, "model": self.model, "times": self.times, **self.params}
        given = [f"{key}={value!r}" for key, value in shown.items() if value not in (None, 1)]
        return f"Stage({', '.join([repr(self.kind), *given])})"


class Best:
    """Of the rows that the nearest `times` made of one, keep the one with the highest number.

    `by` says where that number is: `score` of the stage before, `labels[0].score`,
    `judge.score` of the stage of that name. The first of equals is kept; rows
    that failed, or that have no number there, are not.
    """

    def __init__(self, by: str, /, *, name: str | None = None) -> None:
        self.by = by
        self.name = name

    def __repr__(self) -> str:
        return f"Best({self.by!r})"


#: What `Farm.chain` takes: a kind alone is a stage of it.
Stages = Sequence[Stage | Best | str]


def make_plan(stages: Stages, models: Iterable[Model], known: Plan | None = None) -> Plan:
    """The plan of those stages. Raises InvalidTask that names the stage at fault.

    A stage that names no model has the one that `known`, the chain's own of
    before, says, or else the kind's default.
    """
    written = _spread(stages)
    models, steps, fans = list(models), list[Step](), list[int]()
    names = _names(written)
    for number, (stage, name) in enumerate(zip(written, names, strict=True)):
        before = known.steps[number] if known and number < len(known.steps) else None
        try:
            if isinstance(stage, Best):
                steps.append(_selection(stage, name, steps, fans))
            else:
                steps.append(_task(stage, name, models, before, is_first=not steps))
                fans += [stage.times] * (stage.times > 1)
        except InvalidTask as error:
            raise _at(number, name, error) from None
    plan = Plan(tuple(steps))
    widest = max(plan.width(stage) for stage in range(len(steps)))
    if widest > MAX_WIDTH:
        raise InvalidTask(
            f"a stage has {widest} rows for each item; expected {MAX_WIDTH} at most", param="times"
        )
    return plan


def try_out(
    plan: Plan,
    item: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    only_inputs: bool,
) -> None:
    """See on examples that what each stage gives fits the next, for that item, whose first task
    has those parameters. Raises InvalidTask; with `only_inputs` of stages that look at it."""
    seen: dict[int, Mapping[str, Any]] = {0: sample(plan.steps[0].kind, params)}
    for stage in range(1, len(plan.steps)):
        step = plan.steps[stage]
        sight = Sight(plan, stage, seen, item)
        try:
            if step.by is not None:
                _try_choice(sight, step.by)
                seen[stage] = seen[stage - 1]
            elif not only_inputs or plan.takes_input(stage):
                seen[stage] = sample(step.kind, sight.params(0).model_dump())
            else:
                seen[stage] = sample(step.kind, {})
        except InvalidTask as error:
            raise _at(stage, step.name, error) from None


def _try_choice(sight: Sight, by: str) -> None:
    path = read_path(by)
    if sight.score(path) is None:
        value = sight.look_up(path)  # raises where there is none
        raise InvalidTask(f"by={by!r} is a {type(value).__name__}; expected the path of a number")


def _spread(stages: Stages) -> list[Stage | Best]:
    if isinstance(stages, str | Stage | Best) or not isinstance(stages, Sequence):
        raise InvalidTask(
            f"stages is one {type(stages).__name__}; expected a list of Stage, Best or kinds",
            param="stages",
        )
    written = [Stage(stage) if isinstance(stage, str) else stage for stage in stages]
    wrong = [stage for stage in written if not isinstance(stage, Stage | Best)]
    if wrong or not 1 <= len(written) <= MAX_STAGES:
        found = f"{wrong[0]!r} is no stage" if wrong else f"{len(written)} stages"
        raise InvalidTask(
            f"{found}; expected 1 to {MAX_STAGES} of Stage, Best or kinds", param="stages"
        )
    return written


def _names(written: Sequence[Stage | Best]) -> list[str]:
    """A name each: the one given, else the kind's, numbered from its second on."""
    names: list[str] = []
    for stage in written:
        base = "best" if isinstance(stage, Best) else find_kind(stage.kind).name
        name = stage.name or base
        if stage.name is None:
            name = next(n for n in _numbered(base) if n not in names)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _words():
            raise InvalidTask(
                f"stage name {name!r}: expected up to 64 letters, digits, _ and -, a letter first, "
                f"and none of the words that templates know: {', '.join(sorted(_words()))}",
                param="name",
            )
        if name in names:
            raise InvalidTask(f"two stages are named {name!r}; give each its own", param="name")
        names.append(name)
    return names


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in range(2, MAX_STAGES + 2):
        yield f"{base}-{number}"


def _words() -> set[str]:
    """Words that stand for something else at the beginning of a template's path."""
    return {INPUT, TWIN}.union(*(sample(kind, {}) for kind in KINDS))


def _task(
    stage: Stage, name: str, models: list[Model], before: Step | None, *, is_first: bool
) -> Step:
    kind = find_kind(stage.kind)
    if type(stage.times) is not int or not 1 <= stage.times <= MAX_WIDTH:
        raise InvalidTask(
            f"times={stage.times!r}: expected a whole number from 1 to {MAX_WIDTH}", param="times"
        )
    model = stage.model
    if model is None and before is not None and before.kind == kind.name:
        model = before.model
    params = dict(stage.params) if is_first else {**_default(kind), **stage.params}
    step = Step(name, kind.name, choose_model(kind, model, models), params, stage.times)
    unknown = [key for key in params if key not in kind.params.model_fields]
    if unknown:
        known = ", ".join(kind.params.model_fields)
        raise InvalidTask(
            f"{unknown[0]} is not a parameter of {kind.name}; expected some of: {known}",
            param=unknown[0],
        )
    step.paths()  # raises for what is no template
    return step


def _default(kind: Kind) -> dict[str, str]:
    """What a later stage takes unless told otherwise."""
    main = kind.params.main
    if not kind.params.model_fields[main].is_required():
        return {}
    return {main: "{image}" if main in kind.params.files else "{text}"}


def _selection(best: Best, name: str, steps: Sequence[Step], fans: list[int]) -> Step:
    if not fans:
        raise InvalidTask("there is nothing to choose from; a stage before it needs times=2 or so")
    if not isinstance(best.by, str):
        raise InvalidTask(f"by={best.by!r}: expected a path such as 'score'", param="by")
    read_path(best.by)
    return Step(name, steps[-1].kind, steps[-1].model, {}, fold=fans.pop(), by=best.by)


def _at(number: int, name: str, error: InvalidTask) -> InvalidTask:
    said = str(error).removesuffix(". Nothing was submitted")
    message = f"stage {number + 1} ({name}): {said}. Nothing was submitted"
    return InvalidTask(message, param=error.param)
