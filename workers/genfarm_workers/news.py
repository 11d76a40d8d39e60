"""Tells Flower what happens to tasks: Celery's own task events, many in one broadcast.

Written by hand, because what Celery's dispatcher and a dictionary for each cost
was a sixth of a worker's time. Knows no store and no engine.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from genfarm_shared.tasks import State

#: Events in one broadcast: some 300 kB, far below what Redis lets a slow listener owe.
EVENTS = 1024


@dataclass(frozen=True, slots=True)
class End:
    """How a task stands when its message is let go."""

    task_id: str
    #: Of a state that is not terminal Flower is told nothing: another worker goes on.
    state: State
    #: The result in a few words, or why there is none.
    said: str = ""
    #: Seconds on the engine.
    runtime: float | None = None


class News:
    """Events that wait to be sent. Noting is for any thread, sending for Celery's."""

    def __init__(self) -> None:
        #: The fields of each event that are its own, as the inside of a JSON object.
        self._events: list[str] = []
        self._lock = threading.Lock()

    def received(self, tasks: Iterable[tuple[str, str]]) -> None:
        """Note tasks by `title`, each with its arguments in a few words."""
        own = '"kwargs":"{}","retries":0'
        self._note("received", [f'{title},"args":{quoted(args)},{own}' for title, args in tasks])

    def started(self, titles: Iterable[str]) -> None:
        self._note("started", titles)

    def ended(self, tasks: Iterable[tuple[str, End]]) -> None:
        """Note tasks by `title`, each with its end."""
        told: dict[str, list[str]] = {}
        for title, end in tasks:
            event, own = _ending(end)
            if event:
                told.setdefault(event, []).append(f"{title},{own}")
        for event, events in told.items():
            self._note(event, events)

    def send(self, dispatcher: Any) -> None:
        """Broadcast what was noted; what cannot be sent is lost, and the error says so."""
        with self._lock:
            events, self._events = self._events, []
        if dispatcher is not None and dispatcher.enabled:
            for start in range(0, len(events), EVENTS):
                _broadcast(dispatcher, events[start : start + EVENTS])

    def _note(self, event: str, own: Iterable[str]) -> None:
        """Keep events of one kind for the next broadcast, with the time at which they happened."""
        common = f'"timestamp":{time.time()!r},"type":"task-{event}"'
        with self._lock:
            self._events += [f"{fields},{common}" for fields in own]


def title(task_id: str, shown_as: str) -> str:
    """What every event says of a task."""
    return f'"uuid":{quoted(task_id)},"name":{quoted(shown_as)}'


def _ending(end: End) -> tuple[str, str]:
    """Celery's word for that end, and its fields."""
    match end.state:
        case State.SUCCEEDED:
            runtime = "null" if end.runtime is None else repr(end.runtime)
            return "succeeded", f'"result":{quoted(end.said)},"runtime":{runtime}'
        case State.FAILED | State.QUARANTINED:
            return "failed", f'"exception":{quoted(end.said)},"traceback":""'
        case State.CANCELLED | State.EXPIRED:
            return "revoked", '"terminated":false,"signum":null,"expired":false'
    return "", ""


def _broadcast(dispatcher: Any, events: Sequence[str]) -> None:
    """Send as `EventDispatcher.flush` does, each event with a tick of the logical clock."""
    tick = dispatcher.clock.forward()
    dispatcher.clock.adjust(tick + len(events))
    hours_west = -time.localtime().tm_gmtoff / 3600
    sender = f'"hostname":{quoted(dispatcher.hostname)},"utcoffset":{hours_west}'
    sender += f',"pid":{dispatcher.pid},"clock":'
    told = [f"{{{sender}{clock},{own}}}" for clock, own in enumerate(events, tick)]
    with dispatcher.mutex:  # its heartbeat speaks through the same channel
        dispatcher.producer.publish(
            f"[{','.join(told)}]",
            content_type="application/json",
            content_encoding="utf-8",
            routing_key="task.multi",
            exchange=dispatcher.exchange.name,
            declare=[dispatcher.exchange],
            headers=dispatcher.headers,
            delivery_mode=dispatcher.delivery_mode,
            retry=False,
        )
