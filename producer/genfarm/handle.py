"""A handle on a farm: opened, started, closed; and whatever can be found in it.

Asks nothing of the farm: `farm.py` does.
"""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TypeVar

from genfarm import page
from genfarm.chain import Chain, find_chain, list_chains
from genfarm.job import Job, find_job
from genfarm.link import Link, address_of, locate
from genfarm.models import Model, list_models
from genfarm_shared.settings import Settings, masked
from genfarm_shared.tasks import State, WorkerRecord

AnyHandle = TypeVar("AnyHandle", bound="Handle")


class Handle:
    """What every handle on a farm can do; see `Farm`."""

    _link: Link
    _progress: bool | None
    #: Ends the embedded farm that this handle started.
    _stop: Callable[[], object] | None = None

    def __init__(
        self,
        store: str | None = None,
        broker: str | None = None,
        artifacts: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> None:
        self._link = Link(locate(store, broker, artifacts, home))
        self._progress = progress

    @classmethod
    def local(
        cls,
        workers: int | Literal["auto"] = "auto",
        home: str | os.PathLike[str] | None = None,
        *,
        flower: bool = True,
        progress: bool | None = None,
        detach: bool = False,
    ) -> Self:
        """Start an embedded farm in `home` and return it bound; best in a `with`.

        `close` stops what this call started; a farm that was up already, or is
        started with `detach`, goes on. Raises MissingExtra, Unreachable.
        """
        from genfarm.local import running, start

        place = Settings.load(home=home).home
        was_up = running(place) is not None
        started = start(workers=workers, home=place, flower=flower, detach=detach)
        farm = bound(cls, Link(address_of(started)), progress)
        farm._stop = None if was_up else started.stop
        return farm

    def find_chain(self, id_or_name: str) -> Chain:
        """The chain of that id, or the newest of that name. Raises NotFound."""
        return find_chain(self._link, id_or_name, self._progress)

    def chains(self, limit: int = 20) -> list[Chain]:
        """The newest chains first."""
        return list_chains(self._link, limit, self._progress)

    def job(self, id_or_name: str) -> Job:
        """The job of that id, or the newest of that name. Raises NotFound."""
        return find_job(self._link, id_or_name, self._progress)

    def jobs(self, limit: int = 20) -> list[Job]:
        """The newest jobs first."""
        records = self._link.store.list_jobs(limit)
        return [Job(self._link, record, progress=self._progress) for record in records]

    def workers(self) -> list[WorkerRecord]:
        """The workers that live, the newest first."""
        return self._link.store.list_workers()

    def models(self) -> list[Model]:
        """What `model=` takes: every model that a worker of this farm has announced."""
        return list_models(self._link.store.list_workers(everyone=True))

    def stats(self) -> dict[str, dict[State, int]]:
        """The backlog: tasks that have not ended, by model and state."""
        return self._link.store.backlog()

    @property
    def flower_url(self) -> str | None:
        """Where Flower shows this farm; None when nobody said."""
        return self._link.address.flower_url

    def close(self) -> None:
        """Let go of the farm; its jobs go on, unless this handle started it (`local`)."""
        self._link.close()
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "Farm  " + " · ".join(f"{name} {place}" for name, place in self._about().items())

    def _repr_html_(self) -> str:
        rows = [
            (worker.node, worker.device, worker.state, ", ".join(m["key"] for m in worker.models))
            for worker in self.workers()
        ]
        return page.farm_card(self._about(), rows)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (bound, (type(self), self._link, self._progress))

    def _about(self) -> dict[str, str]:
        address = self._link.address
        places = {
            "store": masked(address.store),
            "broker": masked(address.broker) if address.broker else "none, reading only",
            "artifacts": masked(address.artifacts),
            "flower": masked(address.flower_url or ""),
        }
        return {name: place for name, place in places.items() if place}


def bound(face: type[AnyHandle], link: Link, progress: bool | None) -> AnyHandle:
    """A farm handle on that link; closing it stops no farm."""
    farm = face.__new__(face)
    farm._link, farm._progress = link, progress
    return farm
