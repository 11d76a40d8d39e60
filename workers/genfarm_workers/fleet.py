"""What this worker shares with those that run on devices like its own: sizes of batches.

What its engine measures is written down unless another worker was first, and the engine is
told what stands. Knows the store, and no engine.
"""

import importlib.metadata
from collections.abc import Mapping

from genfarm_shared.store import Store
from genfarm_shared.tasks import Ceiling
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Knee

#: Characters that the columns take.
_DEVICE, _BUILD = 120, 200


class Fleet:
    """The ceilings of one kind of device. For one thread at a time."""

    def __init__(
        self, store: Store, worker_id: str, device: str, catalog: Mapping[str, ModelEntry]
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._device = device[:_DEVICE]
        self._catalog = catalog
        self._torch = _version("torch")
        #: Shortages as they were last written, or read.
        self._known: dict[str, dict[str, int]] = {}

    def sized(self) -> dict[str, ModelEntry]:
        """The catalog, with the sizes that others found."""
        sizes = {c.model: c.rows for c in self._standing() if not c.batch_key}
        return {
            key: entry.model_copy(update={"slots": sizes[key]})
            if key in sizes and not entry.is_pinned
            else entry
            for key, entry in self._catalog.items()
        }

    def shortages(self) -> dict[str, dict[str, int]]:
        """Where memory ran out: tasks by model and batch key."""
        self._known = {}
        for one in self._standing():
            if one.batch_key:
                self._known.setdefault(one.model, {})[one.batch_key] = one.rows
        return self._known

    def agree(self, model: str, knee: Knee) -> int:
        """The rows that all use. Raises Unreachable."""
        found = self._ceiling(model, "", knee.rows, knee.how, knee.rate)
        return self._store.settle_size(found).rows

    def tell_shortages(self, shortages: Mapping[str, Mapping[str, int]]) -> None:
        """Write down what is news of where memory ran out. Raises Unreachable."""
        news = [
            self._ceiling(model, key, tasks, "out of memory")
            for model, by_key in shortages.items()
            for key, tasks in by_key.items()
            if self._known.get(model, {}).get(key) != tasks
        ]
        self._store.note_shortages(news)
        for one in news:
            self._known.setdefault(one.model, {})[one.batch_key] = one.rows

    def _standing(self) -> list[Ceiling]:
        found = self._store.list_ceilings(self._device)
        builds = {key: self._build(key) for key in self._catalog}
        return [one for one in found if builds.get(one.model) == one.build]

    def _ceiling(
        self, model: str, key: str, rows: int, how: str, rate: float | None = None
    ) -> Ceiling:
        device, build = self._device, self._build(model)
        return Ceiling(model, key, device, build, rows, how, self._worker_id, rate)

    def _build(self, model: str) -> str:
        """A key may stand for another source tomorrow."""
        entry = self._catalog[model]
        return f"{self._torch} {entry.dtype} {entry.source}"[:_BUILD]


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""
