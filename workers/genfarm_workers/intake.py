"""Takes messages straight from Celery's consumer and holds them un-acked.

The task's `Strategy` is Celery's own seam: no pool is in the way, and Celery
still answers pings and Flower. A model whose line is full is left out of the
next blocking pop, so that other workers get its tasks. Knows no model and no
store.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery, Task
from celery.exceptions import InvalidTaskError
from kombu.utils.scheduling import round_robin_cycle

from genfarm_shared.queue import TASK_NAME, queue_name
from genfarm_shared.tasks import Claim, Hint, State

log = logging.getLogger(__name__)

#: Seconds for which events and acknowledgements are gathered. One by one they cost three
#: round trips a task on Celery's thread; nobody watching Flower sees 50 ms.
FLUSH_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Held:
    """A message in this worker's hands."""

    hint: Hint
    acknowledge: Callable[[], object]
    #: How Flower names the task.
    shadow: str
    argsrepr: str


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


class Intake:
    """The messages of one worker. `receive` runs on Celery's thread, the rest on any."""

    def __init__(self, models: Collection[str]) -> None:
        self._models = frozenset(models)
        self._held: dict[str, Held] = {}
        #: Since the last flush: events with their fields, and messages to let go.
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._done: list[Held] = []
        self._is_arranged = False
        self._lock = threading.Lock()
        self._consumer: Any = None
        self._offer: Callable[[Hint], bool] = lambda hint: False
        self._is_full: Callable[[str], bool] = lambda model: True
        self._bury: Callable[[str, bytes], None] = lambda reason, body: None

    def connect(
        self,
        offer: Callable[[Hint], bool],
        is_full: Callable[[str], bool],
        bury: Callable[[str, bytes], None],
    ) -> None:
        """Say where hints go, how to ask whether a model's line is full, and where unreadable
        messages are kept."""
        self._offer = offer
        self._is_full = is_full
        self._bury = bury

    def is_open(self, queue: str) -> bool:
        """Whether messages of that queue are wanted now; replies to `celery inspect` always are."""
        prefix = queue_name("")
        return not queue.startswith(prefix) or not self._is_full(queue.removeprefix(prefix))

    def receive(self, consumer: Any, message: Any, acknowledge: Callable[[], object]) -> None:
        """Hold one message and offer its hint; one that nobody can use is kept as a dead letter."""
        self._consumer = consumer
        try:
            hint = self._read(message)
        except InvalidTaskError as error:
            log.warning("dead letter: %s", error)
            self._bury(str(error)[:64], bytes(str(message.body), "utf-8", "replace"))
            acknowledge()
            return
        headers = message.headers
        held = Held(
            hint, acknowledge, headers.get("shadow") or TASK_NAME, headers.get("argsrepr") or ""
        )
        with self._lock:
            double = hint.task_id in self._held
            if not double:
                self._held[hint.task_id] = held
        if double:  # the message in hand stands for both
            acknowledge()
            return
        self._note("received", held, args=held.argsrepr, kwargs="{}", retries=0)
        if not self._offer(hint):
            self.acknowledge([End(hint.task_id, State.QUEUED)])

    def started(self, claims: Iterable[Claim]) -> None:
        """Tell Flower that those tasks are on the engine."""
        for held in self._find(claim.task_id for claim in claims):
            self._note("started", held)

    def acknowledge(self, ends: Sequence[End]) -> None:
        """Let go of those tasks' messages, and tell Flower how the tasks ended."""
        for end in ends:
            for held in self._find([end.task_id], forget=True):
                event, fields = _event(end)
                if event:
                    self._note(event, held, **fields)
                self._done.append(held)
        self._arrange_flush()

    def _read(self, message: Any) -> Hint:
        hint = _hint(message)
        if hint.model not in self._models:
            raise InvalidTaskError(f"this worker serves no model {hint.model[:64]!r}")
        return hint

    def _find(self, task_ids: Iterable[str], *, forget: bool = False) -> list[Held]:
        with self._lock:
            get = self._held.pop if forget else self._held.get
            return [held for task_id in task_ids if (held := get(task_id, None)) is not None]

    def _note(self, event: str, held: Held, **fields: Any) -> None:
        """Keep an event for the next flush, with the time at which it happened."""
        fields |= {"uuid": held.hint.task_id, "name": held.shadow, "timestamp": time.time()}
        self._events.append((f"task-{event}", fields))
        self._arrange_flush()

    def _arrange_flush(self) -> None:
        """Have Celery's thread flush soon: its connection is not for two threads at once."""
        hub = getattr(self._consumer, "hub", None)
        with self._lock:
            if self._is_arranged or hub is None:
                return
            self._is_arranged = True
        hub.call_soon(lambda: hub.call_later(FLUSH_SECONDS, self._flush))

    def _flush(self) -> None:
        """Events first and out of their buffer: once its message is gone nobody sends them."""
        with self._lock:
            self._is_arranged = False
            events, self._events = self._events, []
            done, self._done = self._done, []
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None and dispatcher.enabled:
            for event, fields in events:
                dispatcher.send(event, **fields)
            dispatcher.flush()
        for held in done:
            held.acknowledge()


class Generate(Task):  # type: ignore[misc]  # celery has no types
    """The one Celery task of the farm. It never reaches a pool: see `Strategy`."""

    name = TASK_NAME
    ignore_result = True
    acks_late = True
    Strategy = "genfarm_workers.intake:strategy"

    def __init__(self, intake: Intake) -> None:
        self.intake = intake

    def run(self, *args: object) -> None:
        raise InvalidTaskError(
            "genfarm tasks are run by their engine, not by a pool; submit them with genfarm.Farm"
        )


def strategy(task: Generate, app: Celery, consumer: Any, **_options: Any) -> Callable[..., None]:
    """What Celery calls with each message of `Generate`."""

    def take(
        message: Any, body: Any, ack: Callable[..., object], reject: Any, callbacks: Any, **_: Any
    ) -> None:
        # A connection that broke meanwhile is logged, not raised: the row is recorded anyway.
        task.intake.receive(consumer, message, lambda: ack(log, consumer.connection_errors))

    return take


def queue_order(intake: Intake) -> Callable[[], round_robin_cycle]:
    """Kombu's `queue_order_strategy`: in turn, leaving out queues that are not open."""

    class OpenQueues(round_robin_cycle):  # type: ignore[misc]  # kombu has no types
        def consume(self, n: int) -> list[str]:
            return [queue for queue in super().consume(n) if intake.is_open(queue)]

    return OpenQueues


def _event(end: End) -> tuple[str, dict[str, Any]]:
    """Celery's event for that end, and its fields."""
    match end.state:
        case State.SUCCEEDED:
            return "succeeded", {"result": end.said, "runtime": end.runtime}
        case State.FAILED | State.QUARANTINED:
            return "failed", {"exception": end.said, "traceback": ""}
        case State.CANCELLED | State.EXPIRED:
            return "revoked", {"terminated": False, "signum": None, "expired": False}
    return "", {}


def _hint(message: Any) -> Hint:
    try:
        kind, model, batch_key, rows = message.payload[0]
        task_id = message.headers["id"]
        priority = 9 - int(message.properties.get("priority") or 0)
        well_formed = isinstance(rows, int) and rows > 0 and 0 <= priority <= 9
        if well_formed and all(isinstance(s, str) for s in (kind, model, batch_key, task_id)):
            return Hint(task_id, kind, model, batch_key, rows, priority)
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidTaskError(f"not a message of genfarm: {error}") from error
    raise InvalidTaskError("not a message of genfarm: expected [kind, model, batch key, rows]")
