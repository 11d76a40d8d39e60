"""What a worker knows of its models: which the engine holds, how large their batches are, and
where memory ran out. Filled by what the engine says; knows no process and no store.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Knee
from genfarm_workers.recorder import Ended
from genfarm_workers.residency import Residency

log = logging.getLogger(__name__)

#: Messages of the engine that are for this room.
OPS = frozenset(
    ("loading", "loaded", "unloadable", "evicted", "wanting", "measured", "shortage"),
)


class Models:
    """Not for two threads at once."""

    def __init__(
        self, catalog: Mapping[str, ModelEntry], bench: Bench, residency: Residency
    ) -> None:
        #: With the sizes of batches as far as they are settled, for the next engine process.
        self.catalog = dict(catalog)
        #: Rows of each model's batches.
        self.slots = {key: entry.slots for key, entry in catalog.items()}
        #: Where memory ran out: by model, by batch key.
        self.ceilings: dict[str, dict[str, int]] = {}
        #: Hash of the files of each model that was ever loaded, '' where it has none.
        self.digests: dict[str, str] = {}
        self._bench = bench
        self._residency = residency
        self._shortages = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """The engine process is a new one."""
        self.loading: str | None = None
        #: Batch sizes that it found: it runs nothing of those models until it hears of `settle`.
        self.measured: dict[str, Knee] = {}
        self._loaded: dict[str, float] = {}
        #: Models whose failed load it remembers.
        self._unloadable: set[str] = set()
        self._residency.anew()

    def settle(self, model: str, rows: int) -> bool:
        """Batches of that model have so many rows from now on; whether the engine waits for it."""
        self.catalog[model] = self.catalog[model].model_copy(update={"slots": rows})
        self.slots[model] = rows
        return self.measured.pop(model, None) is not None

    def again(self, models: Collection[str]) -> set[str]:
        """Those of them whose load the engine must be asked to try once more."""
        again = self._unloadable.intersection(models)
        self._unloadable -= again
        return again

    def note(self, message: Mapping[str, Any]) -> None:
        """Take in one of OPS."""
        model = message["model"]
        match message["op"]:
            case "loading":
                self.loading = model
                log.info("engine loads %s", model)
            case "loaded":
                self.loading = None
                self._loaded[model] = message["seconds"]
                self.digests[model] = message.get("digest", "")
                self._bench.clear(model)
                self._residency.loaded(model, message["bytes"], message["reload"])
                log.info("engine loaded %s in %.1f s", model, message["seconds"])
            case "unloadable":
                self.loading = None
                self._unloadable.add(model)
                self._bench.blame(model, message["reason"])
                self._residency.failed(model)
            case "evicted":
                del self._loaded[model]
                self._residency.evicted(model)
            case "wanting":
                self._residency.wanting(model, message["bytes"])
            case "measured":
                self.measured[model] = Knee(message["rows"], message["rate"], message["how"])
            case "shortage":
                self._shortages += 1
                self.ceilings[model] = message["ceilings"]

    def note_seconds(self, ended: Sequence[Ended]) -> None:
        """What the tasks of each model cost the device: of many, one is as good as all."""
        if self._residency.is_tight():
            for one in {one.claim.model: one for one in ended}.values():
                said = one.output.metrics
                if "engine_seconds" in said:
                    seconds = said["engine_seconds"] / max(1, said["batch_size"])
                    self._residency.ended(one.claim.model, seconds)

    def report(self) -> dict[str, Any]:
        """What to say of them in the worker's beat."""
        return {
            "loaded": dict(self._loaded),
            "slots": {model: self.slots[model] for model in self._loaded},
            "ceilings": {key: n for known in self.ceilings.values() for key, n in known.items()},
            "shortages": self._shortages,
            "residency": self._residency.report(),
        }
