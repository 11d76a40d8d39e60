"""Which model a request means, among those that workers have announced.

Knows the workers' rows and no registry: what a key stands for is the
workers' business.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import Kind
from genfarm_shared.tasks import WorkerRecord

#: Shape of a registry key; a repo, path or URL never has it.
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Model:
    """A model as workers announce it."""

    #: Registry key: what `model=` takes.
    key: str
    kind: str
    #: Used for its kind when a request names no model.
    is_default: bool
    description: str
    #: Workers that serve it now; 0: only workers that have left did.
    workers: int


def list_models(workers: Iterable[WorkerRecord]) -> list[Model]:
    """Every model that those workers announced, in the order of their keys."""
    found: dict[str, Model] = {}
    for worker in workers:
        alive = worker.state == "alive"
        for entry in worker.models:
            known = found.get(entry["key"])
            count = (known.workers if known else 0) + alive
            if known is None or alive:
                found[entry["key"]] = Model(
                    key=entry["key"],
                    kind=entry["kind"],
                    is_default=bool(entry.get("default")),
                    description=str(entry.get("description", "")),
                    workers=count,
                )
    return [found[key] for key in sorted(found)]


def choose_model(kind: Kind, asked: str | None, models: Iterable[Model]) -> str:
    """The key to use. Raises InvalidTask that lists what there is.

    A model that only workers now gone have served is accepted: its tasks wait
    for the next such worker.
    """
    models = list(models)
    of_kind = [model for model in models if model.kind == kind.name]
    if asked is None:
        # The builtin comes last: a farm may announce another default for its kind.
        defaults = sorted((m for m in of_kind if m.is_default), key=lambda m: -m.workers)
        default = defaults[0].key if defaults else kind.builtin_model
        if default is None:
            raise _unknown(f"no default model for {kind.name}", kind, of_kind)
        return default
    if not isinstance(asked, str) or not _KEY.fullmatch(asked):
        raise _unknown(f"model={asked!r} is not a registry key such as 'sd15'", kind, of_kind)
    named = next((model for model in models if model.key == asked), None)
    if named is not None and named.kind != kind.name:
        raise _unknown(f"model {asked!r} is a {named.kind} model, not {kind.name}", kind, of_kind)
    if named is None and models:
        raise _unknown(f"unknown model {asked!r}", kind, of_kind)
    return asked


def _unknown(said: str, kind: Kind, of_kind: Iterable[Model]) -> InvalidTask:
    known = ", ".join(model.key for model in of_kind)
    offer = (
        f"for {kind.name} the workers announce {known}"
        if known
        else (f"no worker has announced a {kind.name} model yet; start one, or name the model")
    )
    return InvalidTask(f"{said}; {offer}. Nothing was submitted", param="model")
