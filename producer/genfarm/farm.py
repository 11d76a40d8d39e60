"""The farm as a person sees it: submit, and find again. Starts and stops nothing itself.

Knows no SQL, no queue and no model: rooms beside this one do.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from genfarm import page
from genfarm.accept import Accept
from genfarm.acceptance import Acceptance
from genfarm.flow import flow
from genfarm.item import Item, watched_items
from genfarm.job import Job, find_job
from genfarm.label import OnConflict
from genfarm.link import Link, address_of, locate
from genfarm.models import Model, list_models
from genfarm.request import Deadline, Options, prepare
from genfarm.result import Errors, Result, check_errors
from genfarm.room import WhenFull
from genfarm.rounds import Rounds
from genfarm.submission import write
from genfarm_shared.kinds import find_kind
from genfarm_shared.settings import Settings, masked
from genfarm_shared.tasks import State, WorkerRecord

AnyFarm = TypeVar("AnyFarm", bound="Farm")


class Farm:
    """A farm to ask. Safe for many threads; pickled by its address.

    Without arguments: the farm that GENFARM_STORE, GENFARM_BROKER and
    GENFARM_ARTIFACTS name, else the embedded farm that runs in `home`.
    `progress` False draws no bars, True always; by default TQDM_DISABLE says.
    Raises Unreachable when there is no farm, InvalidSetting for a bad URL.

    Inputs are a list, a generator, a DataFrame or Dataset, or a path to a .txt
    (a prompt per line), .jsonl or .csv file. One input is the kind's main
    parameter (a prompt), or a mapping of parameters that may carry its own
    `seed` and `custom_id` (or `id`). It goes before `params`, and those before
    the model's defaults. Input i gets the seed `params["seed"] + i`, or i when
    there is none: the same call gives the same outputs.

    The same name, or without one the same content, is the same job: it is
    attached to, completed if its submission broke off, and never written
    twice; what failed stays until `Job.retry`. A generator runs while it is
    read, and without a name is always a new job.
    """

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
        farm = _bound(cls, Link(address_of(started)), progress)
        farm._stop = None if was_up else started.stop
        return farm

    def submit(  # noqa: PLR0913  # the public face: keywords a person reads
        self,
        kind: str,
        input: Any = None,  # noqa: A002  # positional only: nobody writes the name
        /,
        *,
        model: str | None = None,
        custom_id: str | None = None,
        priority: int = 0,
        deadline: Deadline | None = None,
        when_full: WhenFull = "raise",
        **params: Any,
    ) -> Item:
        """Submit one task; always a new one.

        `input` is the kind's main parameter, a prompt say, or a mapping of
        parameters. `seed` is 0 unless given. Raises InvalidTask, Unreachable,
        and QueueFull unless it is to "wait" for room.
        """
        if isinstance(input, Mapping):
            values = dict(input)
        else:
            values = {} if input is None else {find_kind(kind).params.main: input}
        if custom_id is not None:
            values["custom_id"] = custom_id
        options = Options(model=model, params=params, priority=priority, deadline=deadline)
        options |= Options(on_conflict="new", when_full=when_full)
        request = prepare(self._link, kind, [values], options)
        job = write(self._link, request, progress=False)
        return watched_items(self._link, self._link.store.read_tasks([f"{job.id}-0"]))[0]

    @overload
    def submit_many(self, kind: str, inputs: object, /, **options: Unpack[Options]) -> Job: ...

    @overload
    def submit_many(
        self, kind: str, inputs: object, /, *, accept: Accept, **options: Unpack[Options]
    ) -> Acceptance: ...

    def submit_many(  # noqa: PLR0913  # the public face: keywords a person reads
        self,
        kind: str,
        inputs: object,
        /,
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
        name: str | None = None,
        id_from: str | Callable[[Any], str] | None = None,
        priority: int = 0,
        deadline: Deadline | None = None,
        metadata: Mapping[str, str] | None = None,
        on_conflict: OnConflict = "resume",
        when_full: WhenFull | None = None,
        progress: bool | None = None,
        accept: Accept | None = None,
    ) -> Job | Acceptance:
        """Submit many tasks and return at once; the job goes on without this process.

        The class says what `inputs`, `params` and `name` mean. `id_from` is
        the key that holds an input's id, or computes it. `deadline` is a
        datetime, or seconds from now: no task starts later. `on_conflict`
        "new" starts afresh where the job exists, "error" refuses. While the
        farm has as many open tasks as it may (GENFARM_MAX_OPEN), "wait" waits
        for room, as a generator does unless told otherwise, and "raise", for
        all else the default, raises QueueFull. Raises InvalidTask, JobConflict
        for a name with other content, Unreachable. Of a list or a file an error
        leaves nothing that runs; of what a generator gave before it, what has
        ended keeps its result and the rest is cancelled. With `accept`, outputs
        are generated until they pass its gates: see `Accept` and `Acceptance`.
        """
        show = self._progress if progress is None else progress
        options = Options(model=model, params=params, name=name, id_from=id_from)
        options |= Options(priority=priority, deadline=deadline, metadata=metadata)
        options |= Options(on_conflict=on_conflict, when_full=when_full)
        if accept is not None:
            rounds = Rounds(self._link, kind, inputs, options, accept)
            return Acceptance(self._link, rounds, accept, progress=show)
        request = prepare(self._link, kind, inputs, options)
        return Job(self._link, write(self._link, request, progress=show), progress=show)

    def map(
        self,
        kind: str,
        inputs: object,
        /,
        *,
        ordered: bool = True,
        errors: Errors = "raise",
        **options: Unpack[Options],
    ) -> Iterator[Result]:
        """Submit many tasks and give back their results while they run.

        `options` are those of `submit_many`. A generator is read at most
        10,000 inputs ahead of the results taken, and first read when the first
        is asked for. Leaving the loop early cancels the rest of a generator's
        job; any other job goes on.
        """
        check_errors(errors)
        request = prepare(self._link, kind, inputs, options)
        if not request.source.is_repeatable:
            return flow(self._link, request, ordered=ordered, errors=errors)
        show = options.get("progress", self._progress)
        job = Job(self._link, write(self._link, request, progress=show))
        return job.results(ordered=ordered, errors=errors)

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
        return (_bound, (type(self), self._link, self._progress))

    def _about(self) -> dict[str, str]:
        address = self._link.address
        places = {
            "store": masked(address.store),
            "broker": masked(address.broker) if address.broker else "none, reading only",
            "artifacts": masked(address.artifacts),
            "flower": masked(address.flower_url or ""),
        }
        return {name: place for name, place in places.items() if place}


def _bound(face: type[AnyFarm], link: Link, progress: bool | None) -> AnyFarm:
    """A farm handle on that link; closing it stops no farm."""
    farm = face.__new__(face)
    farm._link, farm._progress = link, progress
    return farm
