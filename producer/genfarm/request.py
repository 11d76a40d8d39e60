"""What a call to submit means: kind, model, parameters, inputs and label, checked together.

Reads the announced models from the store; writes nothing.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import time
from typing import Any, TypedDict

from genfarm.batchfile import open_source
from genfarm.drafting import Order, check_order
from genfarm.files import keeper
from genfarm.label import Label, OnConflict, Request
from genfarm.link import Link
from genfarm.models import choose_model, list_models
from genfarm.room import WhenFull
from genfarm_shared.errors import InvalidTask, NotFound
from genfarm_shared.kinds import Kind, find_kind

Deadline = float | timedelta | datetime


class Options(TypedDict, total=False):
    """The keywords of `Farm.submit_many`, which explains them."""

    model: str | None
    params: Mapping[str, Any] | None
    name: str | None
    id_from: str | Callable[[Any], str] | None
    priority: int
    deadline: Deadline | None
    metadata: Mapping[str, str] | None
    on_conflict: OnConflict
    when_full: WhenFull | None
    progress: bool | None


def prepare(link: Link, kind: str, inputs: object, options: Options) -> Request:
    """The request behind a call. Raises InvalidTask for all but the inputs' own faults."""
    _check_options(options)
    found = find_kind(kind)
    metadata, params = options.get("metadata"), options.get("params")
    label = Label(
        name=options.get("name"),
        metadata={} if metadata is None else metadata,
        deadline=moment(options.get("deadline")),
        on_conflict=options.get("on_conflict", "resume"),
        when_full=options.get("when_full"),
    )
    label.check()
    keep = keeper(lambda: link.artifacts)
    source = open_source(found, inputs, options.get("id_from"), keep)
    model = _find_model(link, found, options.get("model"), label)
    order = Order(found, model, dict(params or {}), options.get("priority", 0))
    check_order(order)
    return Request(order, source, label)


def _check_options(options: Options) -> None:
    # `Farm.map` takes them as `**options`, so Python refuses none of them by itself.
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        name = min(unknown)
        raise InvalidTask(
            f"{name} is not an option of map; parameters go into params={{...}}, and the options "
            f"are ordered, errors, {', '.join(Options.__annotations__)}",
            param=name,
        )
    params = options.get("params")
    if params is not None and not isinstance(params, Mapping):
        raise InvalidTask(
            f"params={params!r}: expected a mapping of parameters to values", param="params"
        )


def _find_model(link: Link, kind: Kind, asked: str | None, label: Label) -> str:
    """The model asked for, the one of the job that bears the name, or the kind's default."""
    if asked is None and label.name is not None and label.on_conflict == "resume":
        try:
            known = link.store.find_job(label.name)
        except NotFound:
            known = None
        if known is not None and known.identity == label.name and known.kind == kind.name:
            return known.model
    return choose_model(kind, asked, list_models(link.store.list_workers(everyone=True)))


def moment(deadline: Deadline | None) -> float | None:
    """UTC seconds since the epoch; a number or timedelta counts from now."""
    if deadline is None:
        return None
    if isinstance(deadline, datetime):
        return deadline.timestamp()
    if isinstance(deadline, timedelta):
        return time() + deadline.total_seconds()
    if isinstance(deadline, int | float) and not isinstance(deadline, bool):
        return time() + deadline
    raise InvalidTask(
        f"deadline={deadline!r}: expected seconds from now, a timedelta or a datetime",
        param="deadline",
    )
