"""How many rows a batch of a model should have: measured on the device, not configured.

Rows double until a doubling gains less than GAIN (the knee), until twice as many would not
fit into memory, or until there is no time left. Measured with the ordinary task of the
kind through the engine's own `admit` and `step`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine, Knee
from genfarm_workers.engines.memory import Watch, free_memory, is_out_of_memory

logger = logging.getLogger(__name__)

#: What a doubling must gain in rows a second to be worth its latency and its memory.
GAIN = 1.05
#: Share of the free memory that a size may be expected to fill.
FULL = 0.9
#: Seconds that measuring one model may take. A size is not tried that would end later.
BUDGET_SECONDS = 20.0
#: Runs at each size, of which the fastest counts: a busy machine only ever slows one down.
RUNS = 3
#: Seconds after which one run is enough: it averages over many device calls by itself.
LONG_RUN = 0.5
#: The most rows that are tried, as many as a registry may name.
MOST = 4096

#: What is measured on a CPU: long enough to see steps, short enough to see many sizes. Kinds
#: that are not here have no size of their own: their rows cost nothing.
ORDINARY: Mapping[str, Mapping[str, Any]] = {
    "text-generation": {"prompt": "Once upon a time there was " * 4, "max_new_tokens": 16},
    "text-to-image": {"prompt": "a photograph", "steps": 2},
    "unconditional-image-generation": {},
    "text-classification": {"text": "I have had it for two months and it works well. " * 4},
    "feature-extraction": {"text": "I have had it for two months and it works well. " * 4},
    "batch-floats": {"values": [0.5] * 256},
}
#: On a GPU, where steps are fast: as long as tasks are, or what happens once for each task
#: (prompts are computed one by one, so are decodes) would hide what its steps gain.
ORDINARY_CUDA: Mapping[str, Mapping[str, Any]] = {
    "text-generation": {"max_new_tokens": 128},
    "text-to-image": {"steps": 10},
}


@runtime_checkable
class Resizable(Protocol):
    """An engine that can be told its number of rows after it is loaded."""

    def resize(self, rows: int) -> None:
        """Hold `rows` rows from now on, and let go of caches and graphs made for another
        number. Only while it holds no task."""


class Unmeasurable(Exception):
    """The ordinary task is none for this model."""


def find_knee(
    seconds_of: Callable[[int], float],
    fits: Callable[[int], bool],
    clock: Callable[[], float],
    until: float,
) -> Knee:
    """Double while it pays. `seconds_of` runs that many rows, `fits` is asked before it does.

    What it raises for want of memory ends the search; one row that does not fit raises on.
    """
    began = clock()
    best = Knee(1, 1 / seconds_of(1))
    while (rows := 2 * best.rows) <= MOST:
        took, began = clock() - began, clock()
        if not fits(rows):
            return replace(best, how="memory")
        if began + 2 * took > until:
            return replace(best, how="time")
        rate = _rate(rows, seconds_of)
        if rate is None:
            free_memory()
            return replace(best, how="out of memory")
        if rate < GAIN * best.rate:
            return best
        best = Knee(rows, rate)
    return replace(best, how="limit")


def ordinary(kind: str, device: str) -> Mapping[str, Any]:
    """Parameters of the task that is measured on that device."""
    longer = {} if device == "cpu" else ORDINARY_CUDA.get(kind, {})
    return {**ORDINARY[kind], **longer}


def measure_knee(
    engine: Engine, entry: ModelEntry, device: str, clock: Callable[[], float]
) -> Knee | None:
    """The knee of a loaded engine, None where there is none to find. The engine holds nothing
    then, and has yet to be told its size."""
    if entry.kind not in ORDINARY or not isinstance(engine, Resizable):
        return None
    began, probe = clock(), _Probe(engine, engine, entry, clock, device)
    try:
        knee = find_knee(probe.seconds_of, probe.fits, clock, began + BUDGET_SECONDS)
    except Unmeasurable as error:
        logger.warning("model %s is not measured: %s", entry.key, error)
        return None
    logger.info(
        "model %s: %s rows a batch (%s), %.4g rows/s, measured in %.1f of %.0f s",
        entry.key,
        knee.rows,
        knee.how,
        knee.rate,
        clock() - began,
        BUDGET_SECONDS,
    )
    return knee


class _Probe:
    """Runs batches of the ordinary task."""

    def __init__(
        self,
        engine: Engine,
        sizing: Resizable,
        entry: ModelEntry,
        clock: Callable[[], float],
        device: str,
    ) -> None:
        self._engine = engine
        self._sizing = sizing
        self._clock = clock
        params = check_params(find_kind(entry.kind), ordinary(entry.kind, device))
        key = batch_key(entry.key, params)
        self._claim = Claim(
            "", "", 1, entry.kind, entry.key, key, params.rows(), params.model_dump(), 0
        )
        self._sizing.resize(1)
        self._watch = Watch(device)

    def seconds_of(self, rows: int) -> float:
        """Seconds of a full batch of that size, from noise or prompt to outputs."""
        self._sizing.resize(rows)
        self._run(rows)  # a first call plans and compiles, and asks the most of memory
        taken = [self._run(rows)]
        while len(taken) < RUNS and sum(taken) < LONG_RUN:
            taken.append(self._run(rows))
        return min(taken)

    def fits(self, rows: int) -> bool:
        """Whether memory is enough, by what half as many rows took of it."""
        grown = self._watch.grown()
        return 2 * grown <= FULL * (self._watch.free() + grown)

    def _run(self, rows: int) -> float:
        began, shortages = self._clock(), self._engine.work.shortages
        names = [f"probe-{number}" for number in range(rows)]
        claims = [replace(self._claim, task_id=name, seed=n) for n, name in enumerate(names)]
        try:
            self._engine.admit(claims)
            left = rows
            while left:
                if self._engine.wakes_at(self._clock()) is None:
                    raise Unmeasurable(f"the engine ended without {left} of {rows} outputs")
                outputs = self._engine.step(self._clock())
                failed = next((o.failure for o in outputs if o.failure is not None), None)
                if failed is not None:
                    raise Unmeasurable(failed.message)
                left -= len(outputs)
                if self._engine.work.shortages > shortages:
                    raise MemoryError(f"batches of {rows} rows were computed in parts")
        finally:
            self._engine.drop(names)
        return max(self._clock() - began, 1e-9)


def _rate(rows: int, seconds_of: Callable[[int], float]) -> float | None:
    """Rows a second, None where memory ran out."""
    try:
        return rows / seconds_of(rows)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None
