"""Shares one device among models by the time they use. Pure: no clock, no engine.

A text step takes milliseconds and a batch of pictures seconds; taking turns by
step would give the text next to nothing.
"""

from collections.abc import Collection


class Turns:
    """Who is next: of the models that want the device, the one that has had it least."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._wanted: frozenset[str] = frozenset()

    def pick(self, wanting: Collection[str]) -> str:
        """The model to step now; `wanting` is not empty.

        A model that comes back from idleness starts level with the least of
        the others, so that it cannot make up for time it did not want.
        """
        level = min((self._seconds[m] for m in wanting if m in self._wanted), default=0.0)
        for model in wanting:
            if model not in self._wanted:
                self._seconds[model] = max(self._seconds.get(model, 0.0), level)
        self._wanted = frozenset(wanting)
        return min(wanting, key=lambda model: self._seconds[model])

    def charge(self, model: str, seconds: float) -> None:
        """Note that the model had the device for so long."""
        self._seconds[model] += seconds
