"""The loaded models of one engine process, within the memory that they may take.

    absent ──load──▶ held ──park──▶ parked: weights in the host's memory, on a GPU's worker
       ▲              │  ◀─unpark─┘
       └────unload────┘

What makes room is the model that was used longest ago by the cost of bringing it back, and
never one that has work. A model that fits beside nothing is loaded alone. Knows no pipe.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Closing, Engine
from genfarm_workers.engines.knee import ORDINARY, Resizable, measure_knee
from genfarm_workers.engines.manifest import digest_files
from genfarm_workers.engines.memory import device_bytes, free_memory, held_bytes, is_device_lost
from genfarm_workers.engines.registry import Tick
from genfarm_workers.engines.resident import RAISED, DeviceLost, Resident
from genfarm_workers.lasting import set_aside
from genfarm_workers.residency import LOAD_SPEED, Copy, choose_victims, default_budget, spell_bytes
from genfarm_workers.sizes import folder_here, weigh

logger = logging.getLogger(__name__)

Builder = Callable[[ModelEntry, Tick], Engine]
#: Takes a message for the worker.
Say = Callable[[dict[str, Any]], None]


class Shelf:
    """All calls come from one thread."""

    def __init__(
        self,
        catalog: Mapping[str, ModelEntry],
        build_engine: Builder,
        clock: Callable[[], float],
        say: Say,
        tick: Tick,
        budget: "Budget",
    ) -> None:
        self._catalog = dict(catalog)
        self._build_engine = build_engine
        self._clock = clock
        self._say = say
        self._tick = tick
        self._budget = budget
        #: Models on the device, and those whose weights wait in the host's memory.
        self.held: dict[str, Resident] = {}
        self._parked: dict[str, Resident] = {}
        self._engines: dict[str, Engine] = {}
        #: Whether a load has been paid for that brought libraries in: it tells of no reload.
        self._has_imported = False
        #: What is known of the models that are or were held.
        self._copies: dict[str, Copy] = {}
        #: Hashes of the files that they were loaded from.
        self._digests: dict[str, str] = {}
        #: Measured, and not told what size stands.
        self._unsettled: set[str] = set()
        #: The bytes of models that wait for room, so that these are read and said once.
        self._wanting: dict[str, int] = {}
        #: A failed load answers for all tasks of its model until the worker asks for another
        #: try. A load can take half a minute to fail, and a thousand tasks may wait for it.
        self._failed_loads: dict[str, Failure] = {}

    def find(self, model: str) -> Resident | Failure | None:
        """The model, brought back or loaded if it is not there; None while there is no room."""
        if model in self.held:
            self.touch(model)
            return self.held[model]
        if model in self._failed_loads:
            return self._failed_loads[model]
        size = self._size(model)
        if not self._make_room(size):
            if model not in self._wanting:
                self._wanting[model] = size
                self._say({"op": "wanting", "model": model, "bytes": size})
            return None
        self._wanting.pop(model, None)
        return self._bring(model, size)

    def active(self) -> Mapping[str, Resident]:
        """Those that may be stepped."""
        if not self._unsettled:
            return self.held
        return {m: resident for m, resident in self.held.items() if m not in self._unsettled}

    def touch(self, model: str) -> None:
        """The model is in use."""
        self._copies[model].used_at = self._clock()

    def settle(self, model: str, rows: int) -> None:
        """All workers of this kind run that model in batches of so many rows."""
        self._catalog[model] = self._catalog[model].model_copy(update={"slots": rows})
        if model in self._unsettled:
            self._unsettled.discard(model)
            self._resize(model, rows)
            free_memory()

    def try_again(self, model: str) -> None:
        """Forget that its load failed."""
        self._failed_loads.pop(model, None)

    def waive(self, model: str) -> None:
        """Nothing waits any more for room for that model."""
        self._wanting.pop(model, None)

    def _size(self, model: str) -> int:
        """Bytes that it takes: as it did before, else as the heads of its files say."""
        if model in self._copies:
            return self._copies[model].bytes
        if model in self._wanting:
            return self._wanting[model]
        entry = self._catalog[model]
        return weigh(entry, _folder(entry), self._budget.device) or 0

    def _make_room(self, size: int) -> bool:
        """Evict until so much is free; False while what would have to go has work."""
        if not size:
            return True
        free = self._budget.bytes() - sum(self._copies[model].bytes for model in self.held)
        busy = {m for m, r in self.held.items() if r.is_busy() or m in self._unsettled}
        held = {model: self._copies[model] for model in self.held}
        victims = choose_victims(held, size - free, busy, self._clock())
        if victims is None:
            return False
        for model in victims:
            self._evict(model)
        return True

    def _evict(self, model: str) -> None:
        self._tick()  # what has ended is told first: to put a model away takes its time
        resident = self.held.pop(model)
        is_parked = self._park(model)
        if is_parked:
            self._parked[model] = resident
        else:
            self._unload(model)
        del resident  # or its weights would stay until the next eviction
        free_memory()
        logger.info("model %s %s", model, "parked in host memory" if is_parked else "unloaded")
        self._say({"op": "evicted", "model": model, "parked": is_parked})

    def _park(self, model: str) -> bool:
        """Whether its weights are in the host's memory now: memory may be short for that too."""
        from genfarm_workers.engines.parking import can_park, park

        engine = self._engines[model]
        if not self._budget.parks or not can_park(engine):
            return False
        try:
            park(engine)
        except RAISED as error:
            _pass_on_loss(error)
            logger.warning("model %s cannot be parked: %r", model, error)
            return False
        return True

    def _unload(self, model: str) -> None:
        engine = self._engines.pop(model, None)
        if isinstance(engine, Closing):
            engine.close()

    def _bring(self, model: str, size: int) -> Resident | Failure:
        started = self._clock()
        self._say({"op": "loading", "model": model})
        failure = None
        try:
            if model in self._parked:
                self._unpark(model)
            else:
                self._load(model, size)
        except RAISED as error:
            failure = self._give_up(model, error)
        if failure is not None:
            self._unload(model)
            free_memory()  # outside the except block: its traceback keeps half a model alive
            return failure
        set_aside()
        copy = self._copies[model]
        copy.used_at = self._clock()
        seconds = copy.used_at - started
        logger.info("model %s in %.3f s, %s", model, seconds, spell_bytes(copy.bytes))
        known = {"model": model, "reload": copy.reload_seconds, "bytes": copy.bytes}
        known["digest"] = self._digests[model]
        self._say({"op": "loaded", **known, "seconds": round(copy.used_at - started, 3)})
        return self.held[model]

    def _load(self, model: str, size: int) -> None:
        self._refuse_what_cannot_fit(model, size)
        entry, started = self._catalog[model], self._clock()
        # Measuring begins with one row: what is built for more would be thrown away.
        first = entry if _is_sized(entry) else entry.model_copy(update={"slots": 1})
        before = held_bytes(self._budget.device) if self._budget.is_cuda else 0
        engine = self._engines[model] = self._build_engine(first, self._tick)
        engine.load()
        seconds = round(self._clock() - started, 3)
        self._digests[model] = digest_files(_folder(entry))
        resident = Resident(engine, self._clock, self._budget.ceilings.get(model))
        if not _is_sized(entry):
            self._measure(model, engine)
        size = self._weighed(engine, size, before)
        reload = seconds if self._has_imported else min(seconds, size / LOAD_SPEED)
        self._has_imported = True
        self._copies[model] = Copy(size, reload, self._clock())
        self.held[model] = resident

    def _measure(self, model: str, engine: Engine) -> None:
        """Find the model's batch size; it is not run until the worker says what stands."""
        entry = self._catalog[model]
        knee = measure_knee(engine, entry, self._budget.device, self._clock)
        if knee is None:
            self._resize(model, entry.slots)
            return
        found = {"rows": knee.rows, "rate": knee.rate, "how": knee.how}
        self._unsettled.add(model)
        self._say({"op": "measured", "model": model, **found})

    def _resize(self, model: str, rows: int) -> None:
        engine = self._engines[model]
        if isinstance(engine, Resizable):
            engine.resize(rows)

    def _unpark(self, model: str) -> None:
        from genfarm_workers.engines.parking import unpark

        started, resident = self._clock(), self._parked.pop(model)
        unpark(self._engines[model], self._budget.device, self._catalog[model].slots)
        self.held[model] = resident
        self._copies[model].reload_seconds = round(self._clock() - started, 3)

    def _weighed(self, engine: Engine, size: int, before: int) -> int:
        from genfarm_workers.engines.parking import weight_bytes

        grown = held_bytes(self._budget.device) - before if self._budget.is_cuda else 0
        return max(weight_bytes(engine), grown) or size

    def _refuse_what_cannot_fit(self, model: str, size: int) -> None:
        if size and size > self._budget.whole():
            raise ModelUnavailable(
                f"model {model!r} needs {spell_bytes(size)} for its weights, and this device has "
                f"{spell_bytes(self._budget.whole())} in all. Serve it on a larger device, or in "
                "another precision: dtype in models.toml"
            )

    def _give_up(self, model: str, error: BaseException) -> Failure:
        """Say that a load failed. Raises DeviceLost where the device was at fault."""
        _pass_on_loss(error)
        logger.warning("model %s cannot be loaded: %r", model, error)
        failure = Failure("model_unavailable", _load_message(model, error))
        self._failed_loads[model] = failure
        self._say({"op": "unloadable", "model": model, "reason": failure.message})
        return failure


class Budget:
    """What memory allows. Asks the device when first asked."""

    def __init__(
        self,
        device: str = "cpu",
        given: int = 0,
        ceilings: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """`given` are the bytes that the weights of held models may take together, 0 for what
        is usual on that device; `ceilings` says where it ran out, by model and batch key."""
        self.device = device
        self.ceilings = ceilings or {}
        self.is_cuda = device != "cpu"
        #: Whether what is evicted waits in the host's memory. A CPU's models are there anyway.
        self.parks = self.is_cuda
        self._given = given
        self._whole = 0

    def whole(self) -> int:
        self._whole = self._whole or device_bytes(self.device)
        return self._whole

    def bytes(self) -> int:
        return self._given or default_budget(self.device, self.whole())


def _pass_on_loss(error: BaseException) -> None:
    """Raises DeviceLost where the device was at fault."""
    if is_device_lost(error):
        raise DeviceLost(str(error).strip().partition("\n")[0]) from None


def _folder(entry: ModelEntry) -> Path | None:
    """Where its files lie on this machine."""
    folder = folder_here(entry)
    if folder is None and entry.source:
        from genfarm_workers.engines.weights import find_cached

        folder = find_cached(entry)
    return folder


def _is_sized(entry: ModelEntry) -> bool:
    return entry.is_pinned or entry.kind not in ORDINARY


def _load_message(model: str, error: BaseException) -> str:
    if isinstance(error, ModelUnavailable):
        return str(error)
    said = f"{type(error).__name__}: {error}"[:500]
    return f"model {model!r} cannot be loaded: {said}. See the worker's log"
