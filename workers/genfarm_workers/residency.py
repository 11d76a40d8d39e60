"""Which models a worker holds, and to whose tasks it is open. Pure but for a lock.

A load can cost as much as hundreds of tasks. So a worker whose models do not all fit takes
the tasks of those it holds, leaves the others' to other workers, and turns to another model
only when that is worth it:

    it fits beside the others            at once
    this worker has nothing to do        once it has had nothing for as long as the load takes
    nobody else holds it                 once its waiting work is worth K loads, or it has
                                         waited for MAX_WAIT; and those that would go and have
                                         work have been held for as long as K loads take

One model at a time. Of several workers that could turn to it the one whose id comes first
does, and the others see it in its beat. So of the device's time at most one part in K + 1
goes into loads while there is work, and two workers with two models settle on one each.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Loads' worth of work for which a model is changed: one part in nine for loads.
K = 8.0
#: Seconds after which a model is turned to however little of it waits. Not measured.
MAX_WAIT = 60.0
#: Seconds by which each further worker that could turn to a model lets the one before it go
#: first: a few beats.
AFTER_YOU = 2.0
#: Guesses until it is known better: bytes a second of a load, and seconds of a task.
LOAD_SPEED, TASK_SECONDS = 500e6, 0.1
#: Weight of the latest task in a model's seconds a task.
LATEST = 0.05
#: Share of a GPU's memory, and of a computer's, that weights may take: caches, activations
#: and, on a CPU, everybody else need the rest. Not measured.
GPU_SHARE, CPU_SHARE = 0.7, 0.5


@dataclass(slots=True)
class Copy:
    """A model on a device, or what is remembered of it."""

    bytes: int
    #: How long it took to bring it there.
    reload_seconds: float
    #: Monotonic seconds.
    used_at: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a worker sees around it."""

    #: Tasks that wait in the queue of each model.
    backlog: Mapping[str, int]
    #: Models that another worker is open to.
    elsewhere: Collection[str] = ()
    #: How many other workers serve each model and come before this one.
    rank: Mapping[str, int] = field(default_factory=dict)


def choose_victims(
    copies: Mapping[str, Copy], needed: int, busy: Collection[str], now: float
) -> list[str] | None:
    """The models to evict for so many bytes: used longest ago, by the cost of a reload.

    None where that would take one that is busy. All that are not where even they are too
    few: a model larger than the whole budget is loaded alone.
    """
    idle = [model for model, copy in copies.items() if copy.bytes and model not in busy]
    idle.sort(key=lambda m: (copies[m].used_at - now) / max(copies[m].reload_seconds, 1e-3))
    victims: list[str] = []
    for model in idle:
        if needed <= sum(copies[victim].bytes for victim in victims):
            break
        victims.append(model)
    spare = sum(copies[victim].bytes for victim in victims) - needed
    if spare < 0:
        has_busy = any(copies[model].bytes for model in busy if model in copies)
        return None if has_busy else victims
    for model in list(victims):  # a large one may do what small ones before it were to do
        if copies[model].bytes <= spare:
            victims.remove(model)
            spare -= copies[model].bytes
    return victims


def default_budget(device: str, whole: int) -> int:
    """Bytes that weights may take of so many."""
    return int(whole * (CPU_SHARE if device == "cpu" else GPU_SHARE))


class Residency:
    """Thread-safe."""

    def __init__(
        self,
        sizes: Mapping[str, int | None],
        budget: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sizes` are the bytes of the served models as far as they are known before a load,
        `budget` what they may take together, None for a device that does not tell."""
        self._lock = threading.RLock()
        self._clock = clock
        self._budget = budget
        self._sizes = dict(sizes)
        #: Models whose tasks are taken, held or on their way, and since when.
        self._open: dict[str, Copy] = {}
        self._since: dict[str, float] = {}
        #: Models that the engine holds.
        self._loaded: set[str] = set()
        self._reload: dict[str, float] = {}
        self._task_seconds: dict[str, float] = {}
        #: Since when tasks of a closed model have been seen waiting, and a turn been due.
        self._seen: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._used_at = -float("inf")
        self._loads = self._evictions = 0
        self._note_size()

    # What the engine says.

    def loaded(self, model: str, size: int, seconds: float) -> None:
        with self._lock:
            self._loads += 1
            self._reload[model] = seconds
            self._note_size(model, size)
            self._loaded.add(model)
            self._admit(model)

    def failed(self, model: str) -> None:
        """It cannot be loaded, so that it takes nobody's place."""
        with self._lock:
            self._open.pop(model, None)

    def evicted(self, model: str) -> None:
        with self._lock:
            self._evictions += 1
            self._loaded.discard(model)
            self._open.pop(model, None)

    def wanting(self, model: str, size: int) -> None:
        """It has tasks of a model there and no room: they are there, so room is made."""
        with self._lock:
            self._note_size(model, size)
            if not (model in self._open and self._is_turning()):
                self._turn_to(model)

    def anew(self) -> None:
        """The engine process is a new one and holds nothing."""
        with self._lock:
            self._open.clear()
            self._loaded.clear()

    def ended(self, model: str, seconds: float) -> None:
        """A task of that model took so much of the device."""
        with self._lock:
            before = self._task_seconds.get(model, seconds)
            self._task_seconds[model] = before + LATEST * (seconds - before)
            self._used_at = self._clock()
            if model in self._open:
                self._open[model].used_at = self._used_at

    # What the worker asks.

    def is_tight(self) -> bool:
        """Whether the served models do not all fit, as far as is known."""
        return self._is_tight

    def is_open(self, model: str) -> bool:
        """Whether tasks of that model are this worker's to run."""
        if not self._is_tight:
            return True
        with self._lock:
            return model in self._open or self._fits(model)

    def allow(self, model: str, room: int, is_idle: Callable[[], bool]) -> int:
        """How many tasks to take of a model that there is so much room for."""
        if not room or self.is_open(model):
            return room
        # One, which opens this worker to the model: there may be nothing to take.
        return int(is_idle() and self.may_turn_to(model))

    def may_turn_to(self, model: str) -> bool:
        """Whether a worker that has nothing to do takes a task of a closed model."""
        with self._lock:
            rest = self._clock() - self._used_at
            return not self._is_turning() and rest >= self._cost(model)

    def arrive(self, model: str) -> None:
        """A task of that model has come: open to it, if it came because there was no other."""
        if not self._is_tight:
            return
        with self._lock:
            if model in self._open:
                return
            if self._fits(model):
                self._admit(model)
            elif self.may_turn_to(model):
                self._turn_to(model)

    def look(self, outlook: Outlook, at_work: Collection[str]) -> str | None:
        """Turn to another model if that is due; returns it. `at_work` are the models of which
        this worker has tasks."""
        with self._lock:
            now = self._clock()
            self._give_up_turns({*at_work, *(m for m, n in outlook.backlog.items() if n)}, now)
            waiting = {
                model: number
                for model, number in outlook.backlog.items()
                if number and not self.is_open(model) and model not in outlook.elsewhere
            }
            self._seen = {model: self._seen.get(model, now) for model in waiting}
            work = {*at_work, *(model for model, number in outlook.backlog.items() if number)}
            due = [m for m, number in waiting.items() if self._is_due(m, number, work, now)]
            self._due = {model: self._due.get(model, now) for model in due}
            ready = [m for m in due if now - self._due[m] >= AFTER_YOU * outlook.rank.get(m, 0)]
            if not ready or self._is_turning():
                return None
            model = min(ready, key=lambda m: self._seen[m])
            self._turn_to(model, work)
            return model

    def report(self) -> dict[str, Any]:
        """What to say of it in the worker's beat."""
        with self._lock:
            is_open = self._open if self._is_tight else self._sizes
            held = {model: self._sizes[model] or 0 for model in sorted(self._loaded)}
            return {
                "open": sorted(is_open),
                "held_bytes": held,
                "budget_bytes": self._budget,
                "loads": self._loads,
                "evictions": self._evictions,
            }

    def _give_up_turns(self, work: Collection[str], now: float) -> None:
        """What a model was turned to for may have been cancelled: it will never be loaded."""
        for model in [m for m in self._open if m not in self._loaded and m not in work]:
            if now - self._since[model] >= AFTER_YOU:
                del self._open[model]

    def _is_due(self, model: str, number: int, work: Collection[str], now: float) -> bool:
        """Whether so many waiting tasks are worth a load, or have waited long enough."""
        cost = K * self._cost(model)
        is_worth_it = number * self._task_seconds.get(model, TASK_SECONDS) >= cost
        if not is_worth_it and now - self._seen[model] < MAX_WAIT:
            return False
        victims = self._victims(model, work)
        return all(m not in work or now - self._since[m] >= cost for m in victims)

    def _turn_to(self, model: str, work: Collection[str] = ()) -> None:
        for victim in self._victims(model, work):
            del self._open[victim]
        self._admit(model)

    def _admit(self, model: str) -> None:
        now = self._clock()
        self._open[model] = Copy(self._sizes.get(model) or 0, self._cost(model), now)
        self._since[model] = now

    def _note_size(self, model: str | None = None, size: int = 0) -> None:
        if model is not None:
            self._sizes[model] = size
        known = sum(size or 0 for size in self._sizes.values())
        self._is_tight = self._budget is not None and known > self._budget

    def _victims(self, model: str, work: Collection[str]) -> list[str]:
        """Those that have no work before those that do, and of these the one held longest."""
        needed = (self._sizes[model] or 0) - self._free()
        others = {m: copy for m, copy in self._open.items() if m != model}
        idle = {m: copy for m, copy in others.items() if m not in work}
        chosen = choose_victims(idle, needed, (), self._clock()) or []
        needed -= sum(others[m].bytes for m in chosen)
        rest = sorted(set(others) - set(chosen), key=lambda m: self._since[m])
        for victim in rest:
            if needed > 0 and others[victim].bytes:
                chosen.append(victim)
                needed -= others[victim].bytes
        return chosen

    def _fits(self, model: str) -> bool:
        size = self._sizes.get(model)
        return not size or size <= self._free()

    def _free(self) -> int:
        budget = self._budget or 0
        return budget - sum(copy.bytes for copy in self._open.values())

    def _is_turning(self) -> bool:
        return not self._loaded.issuperset(m for m, copy in self._open.items() if copy.bytes)

    def _cost(self, model: str) -> float:
        """Seconds of a load."""
        return self._reload.get(model, (self._sizes.get(model) or 0) / LOAD_SPEED)


def spell_bytes(size: int) -> str:
    """For people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
