"""How long an engine process may be silent, and how long it has been. Kills nothing itself."""

import time
from collections.abc import Collection, Mapping

from genfarm_workers.catalog import ModelEntry

#: Seconds until a new engine process says it is ready: Python's start on a busy machine.
START_SECONDS = 120.0
#: Seconds that loading one model may take: tens of gigabytes from a slow disk. Not measured.
LOAD_SECONDS = 1800.0
#: Seconds beyond its turn after which a listener was late itself: this process stood still, and
#: the engine with it perhaps, so that its silence means nothing.
LATE_SECONDS = 1.0


class Watchdog:
    """Of one engine process at a time."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The engine process is a new one."""
        self._heard_at = self._listened_at = time.monotonic()
        self.is_ready = False
        #: The model that it steps.
        self.stepping: str | None = None

    def hear(self) -> None:
        """It spoke, or was given work and could not have spoken before."""
        self._heard_at = time.monotonic()

    def listened(self, timeout: float) -> None:
        """Somebody listened for at most so long, and may have been late to come back."""
        now = time.monotonic()
        if now - self._listened_at > timeout + LATE_SECONDS:
            self._heard_at = now
        self._listened_at = now

    def overdue(
        self, catalog: Mapping[str, ModelEntry], loading: str | None, models: Collection[str]
    ) -> float | None:
        """Seconds of silence if they are too many; `models` are those of the tasks that it holds.

        Only silence during work counts: a healthy engine speaks twice a second.
        """
        silent, limit = time.monotonic() - self._heard_at, self._limit(catalog, loading, models)
        return silent if limit is not None and silent > limit else None

    def _limit(
        self, catalog: Mapping[str, ModelEntry], loading: str | None, models: Collection[str]
    ) -> float | None:
        if not self.is_ready:
            return START_SECONDS
        if loading is not None:
            return LOAD_SECONDS
        if self.stepping is not None and self.stepping in models:
            models = {self.stepping}
        return max((catalog[model].stall_seconds for model in models), default=None)
