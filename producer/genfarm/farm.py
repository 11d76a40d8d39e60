"""The farm as a person sees it: what one can ask of it. `handle.py` finds what was asked.

Knows no SQL, no queue and no model: rooms beside this one do.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack, overload

from genfarm.accept import Accept
from genfarm.acceptance import Acceptance
from genfarm.chain import Chain
from genfarm.chaining import write_chain
from genfarm.chainitems import Items
from genfarm.files import is_file
from genfarm.flow import flow
from genfarm.handle import Handle
from genfarm.item import Item, watched_items
from genfarm.job import Job
from genfarm.label import Label, OnConflict
from genfarm.proving import Replay, compare, find_original, known_keys, prove
from genfarm.request import Deadline, Options, moment, prepare
from genfarm.result import Errors, Result, check_errors
from genfarm.room import WhenFull
from genfarm.rounds import Rounds
from genfarm.stages import Stages
from genfarm.submission import write
from genfarm_shared.kinds import find_kind
from genfarm_shared.provenance import Proof
from genfarm_shared.settings import Settings


class Farm(Handle):
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
            main = find_kind(kind).params.files[:1] if is_file(input) else ()
            values = {} if input is None else {next(iter(main), find_kind(kind).params.main): input}
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

    def chain(  # noqa: PLR0913  # the public face: keywords a person reads
        self,
        stages: Stages,
        inputs: object,
        /,
        *,
        name: str | None = None,
        seed: int = 0,
        id_from: str | Callable[[Any], str] | None = None,
        priority: int = 0,
        deadline: Deadline | None = None,
        metadata: Mapping[str, str] | None = None,
        on_conflict: OnConflict = "resume",
        when_full: WhenFull | None = None,
        progress: bool | None = None,
    ) -> Chain:
        """Have every input pass all stages, each going on as soon as it is ready, and return at
        once: the farm moves them, whether this process lives or not.

        `stages` are `Stage`, `Best`, or kinds alone. `inputs` are those of the
        first stage, and mappings may say more, for templates: `{input.style}`.
        The rest as for `submit_many`; the same name or content is the same
        chain. Raises InvalidTask before anything is written where a stage
        cannot use what the one before gives.
        """
        show = self._progress if progress is None else progress
        label = Label(name, metadata or {}, moment(deadline), on_conflict, when_full)
        items = Items(inputs, id_from, seed)
        record = write_chain(self._link, stages, items, label, priority, progress=show)
        return Chain(self._link, record, progress=show)

    def verify(self, made: str | os.PathLike[str] | Item) -> Proof:
        """Whether a file, or the result of an item or of its id, is as this farm signed it.

        Raises NotFound.
        """
        return prove(self._link, made, known_keys(self._link, Settings.load().signing_path))

    def replay(self, made: str | os.PathLike[str] | Item, timeout: float | None = None) -> Replay:
        """Run once more, as a new task, what made that (see `verify`), and compare the bytes.

        Raises NotFound, InvalidTask, and what `Item.result` raises.
        """
        original = find_original(self._link, made)
        item = self.submit(original.kind, original.params, model=original.model)
        return compare(original, item.result(timeout))
