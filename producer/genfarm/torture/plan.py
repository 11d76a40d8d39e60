"""What a torture run asks for: jobs of known tasks, from the seed alone. Pure.

A task's right end follows from what was asked: `fates` says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from genfarm_shared.tasks import State

#: Share of `seconds` in which jobs are submitted; the rest lets the last of them be struck.
BUSY = 0.9
#: Seconds a run for which one poison task and two that end their engine once are planned:
#: each costs an engine and its batch, and the host pauses longer after each.
SECONDS_A_POISON = 30.0
#: Faults of a task's first attempt that end the engine: the attempt after it must succeed.
CRASHES = ("exit", "segfault", "hang", "kill")
#: Faults of a task that end the engine whenever it runs.
POISONS = ("exit", "segfault")
#: Faults that the engine survives, and its batch.
ERRORS = ("raise", "system-exit", "memory-error", "oom", "oom-batch", "hold-gil")


class Flavour(StrEnum):
    """What is done with a job besides running it."""

    PLAIN = "plain"
    PICTURES = "pictures"
    #: The same submission comes twice.
    TWICE = "twice"
    #: A generator that ends well.
    STREAMED = "streamed"
    #: First attempts fail for good; a person retries.
    MENDED = "mended"
    #: Withdrawn while it runs.
    CANCELLED = "cancelled"
    #: With a deadline that may pass.
    LATE = "late"
    #: Its last input is invalid.
    INVALID = "invalid"
    #: The submitter fails half-way.
    INTERRUPTED = "interrupted"
    #: The submitter is killed half-way.
    KILLED = "killed"
    #: A generator that fails half-way.
    BROKEN = "broken"


#: How often each comes, and of what sizes.
SHARES: Mapping[Flavour, float] = {
    Flavour.PLAIN: 10,
    Flavour.PICTURES: 4,
    Flavour.TWICE: 2,
    Flavour.STREAMED: 2,
    Flavour.MENDED: 1,
    Flavour.CANCELLED: 3,
    Flavour.LATE: 2,
    Flavour.INVALID: 1,
    Flavour.INTERRUPTED: 1,
    Flavour.BROKEN: 1,
}
SIZES = (1, 2, 5, 10, 20, 40, 80)
#: Submissions that must fail.
FAILING = frozenset({Flavour.INVALID, Flavour.INTERRUPTED, Flavour.KILLED, Flavour.BROKEN})

Input = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """One job to ask for."""

    #: Seconds from the beginning.
    at: float
    name: str
    flavour: Flavour
    inputs: list[Input]
    priority: int = 0
    #: Seconds from its submission; None for ever.
    deadline: float | None = None
    #: Seconds from its submission to its cancellation.
    cancel_after: float = 0.0


def make_plan(seed: int, tasks: int, seconds: float) -> list[Order]:
    """Jobs of at least `tasks` tasks that must end, in the order of their times."""
    rng = Random(f"plan {seed}")  # noqa: S311
    orders: list[Order] = []
    left = tasks
    while left > 0:
        order = _order(rng, len(orders), seconds, left)
        orders.append(order)
        left -= 0 if order.flavour in FAILING else len(order.inputs)
    killed = max(1, round(seconds / 60))
    orders += [_killed(rng, len(orders) + n, seconds) for n in range(killed)]
    _poison(rng, orders, seconds)
    return sorted(orders, key=lambda order: order.at)


def fates(flavour: Flavour, task: Input) -> frozenset[State]:
    """The states in which a task of an acknowledged job may end."""
    own = _own_fates(flavour, task)
    if flavour in (Flavour.CANCELLED, Flavour.BROKEN):
        return own | {State.CANCELLED}
    return own | {State.EXPIRED} if flavour is Flavour.LATE else own


def _own_fates(flavour: Flavour, task: Input) -> frozenset[State]:
    fault, always = task.get("fault", "none"), task.get("faulty_attempts", 0) > 1
    if fault in CRASHES:
        return frozenset({State.QUARANTINED if always else State.SUCCEEDED})
    if fault in ("raise", "system-exit", "bad-output", "memory-error", "oom"):
        if always:
            return frozenset({State.FAILED})
        # An attempt that was lost before it ran is one of the faulty ones too.
        mended = flavour is Flavour.MENDED
        return frozenset({State.SUCCEEDED} if mended else {State.SUCCEEDED, State.FAILED})
    return frozenset({State.SUCCEEDED})


def _order(rng: Random, number: int, seconds: float, left: int) -> Order:
    flavour = rng.choices(list(SHARES), list(SHARES.values()))[0]
    size = min(rng.choice(SIZES), left)
    name = f"torture-{number:04d}-{flavour}"
    inputs = [_input(rng, f"{name} {index}", flavour) for index in range(size)]
    return Order(
        at=0.0 if number == 0 else rng.uniform(0, BUSY * seconds),
        name=name,
        flavour=flavour,
        inputs=inputs,
        priority=rng.choice((0, 0, 0, 5, 9)),
        deadline=rng.uniform(0.2, 6.0) if flavour is Flavour.LATE else None,
        cancel_after=rng.uniform(0.0, 2.0),
    )


def _input(rng: Random, text: str, flavour: Flavour) -> Input:
    task: dict[str, Any] = {"text": text, "seed": rng.randrange(2**40)}
    task["seconds"] = rng.choice((0.0, 0.0, 0.1, 0.3, 0.6, rng.uniform(0.0, 2.0)))
    if flavour is Flavour.PICTURES:
        task["picture"] = True
    if flavour is Flavour.MENDED:
        task |= {"fault": "bad-output", "faulty_attempts": 1}
    elif rng.random() < 0.01:
        task |= {"fault": "bad-output", "faulty_attempts": rng.choice((1, 1000))}
    return task


def _killed(rng: Random, number: int, seconds: float) -> Order:
    """Large enough that its submitter writes several chunks before it dies."""
    name = f"torture-{number:04d}-{Flavour.KILLED}"
    inputs: list[Input] = [{"text": f"{name} {n}", "seed": n} for n in range(3000)]
    return Order(rng.uniform(0, BUSY * seconds), name, Flavour.KILLED, inputs)


def _poison(rng: Random, orders: Sequence[Order], seconds: float) -> None:
    """Put tasks that end their engine among innocents."""
    hosts = [o for o in orders if o.flavour in (Flavour.PLAIN, Flavour.PICTURES, Flavour.TWICE)]
    poisons = max(1, round(seconds / SECONDS_A_POISON))
    faults = [(rng.choice(POISONS), 1000) for _ in range(poisons)]
    faults += [(rng.choice(CRASHES), 1) for _ in range(2 * poisons)]
    # Few as well: an engine runs the batch of an error one by one, and smaller batches for as
    # long as it lives after one that it could not hold.
    faults += [(rng.choice(ERRORS), rng.choice((1, 1000))) for _ in range(poisons)]
    for fault, attempts in faults if hosts else ():
        host = rng.choice(hosts)
        index = rng.randrange(len(host.inputs))
        sick = {**host.inputs[index], "fault": fault, "faulty_attempts": attempts}
        host.inputs[index] = sick
