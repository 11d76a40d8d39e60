"""How many tasks of a batch key memory was enough for. Pure: no clock, no engine.

    out of memory with N tasks      ceiling N // 2; the tasks run again at once
    a while without another         a quarter more is tried, and so on
    out of memory at a ceiling      back to what was enough before, and the
    that was raised                 next trial waits twice as long

A ceiling is not for ever: what took the memory, another model say, may have
left. It outlives the engine process, because the worker hands it to the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: First and longest wait before more than the ceiling is tried, seconds. A trial that fails
#: costs one batch; not measured.
FIRST_WAIT, LONGEST_WAIT = 600.0, 86_400.0
#: Ceilings that are kept, the latest found; they travel with every beat of the worker.
MOST = 64


@dataclass(frozen=True, slots=True)
class _Ceiling:
    tasks: int
    #: What was enough before the last raise; the same as `tasks` when it was never raised.
    enough: int
    #: When it was found or raised, monotonic seconds, and how long it then stands.
    since: float
    wait: float


class Ceilings:
    """Those of one model. Not for two threads at once."""

    def __init__(self, known: Mapping[str, int], now: float) -> None:
        """`known` is what an earlier engine process found out, by batch key."""
        self._by_key = {
            key: _Ceiling(tasks, tasks, now, FIRST_WAIT) for key, tasks in known.items()
        }

    def allowed(self, key: str) -> int | None:
        """The most tasks of that key to hold together, None when any number fits."""
        found = self._by_key.get(key)
        return found.tasks if found is not None else None

    def lower(self, key: str, held: int, now: float) -> None:
        """Memory ran out with `held` tasks in the engine."""
        old = self._by_key.pop(key, None)  # so that the latest found stands last
        if old is not None and old.enough < held:
            tasks, wait = old.enough, min(2 * old.wait, LONGEST_WAIT)
        else:
            tasks, wait = max(1, held // 2), FIRST_WAIT
        self._by_key[key] = _Ceiling(tasks, tasks, now, wait)
        while len(self._by_key) > MOST:
            del self._by_key[next(iter(self._by_key))]

    def relax(self, slots: int, now: float) -> None:
        """Raise what has stood its time; drop what stood at all that the engine holds."""
        due = [key for key, c in self._by_key.items() if now - c.since >= c.wait]
        for key in due:
            old = self._by_key.pop(key)
            if old.tasks < slots:
                more = old.tasks + max(1, old.tasks // 4)
                self._by_key[key] = replace(old, tasks=more, enough=old.tasks, since=now)

    def known(self) -> dict[str, int]:
        """For the worker: what was enough, by batch key."""
        return {key: ceiling.enough for key, ceiling in self._by_key.items()}
