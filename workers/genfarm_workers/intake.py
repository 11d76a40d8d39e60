"""Takes messages from the transport, checks them, and holds them un-acked.

They come in bulk and past Celery, whose part is the event loop, the connection
and the answers to pings and Flower. A model whose line is full has no room, and
the transport leaves its messages to other workers. Knows no model and no store.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery import Celery, Task
from celery.exceptions import InvalidTaskError

from genfarm_shared.forms import Forms
from genfarm_shared.messages import TASK_NAME, Letter, Refused, queue_name
from genfarm_shared.tasks import Claim, Hint, State
from genfarm_workers.news import End, News, title
from genfarm_workers.transport import Taken

log = logging.getLogger(__name__)

#: Seconds for which events and acknowledgements are gathered. One by one they cost three
#: round trips a task on Celery's thread; nobody watching Flower sees 50 ms.
FLUSH_SECONDS = 0.05
#: Seconds until the next try when a flush failed.
AGAIN_SECONDS = 0.5
#: Characters of a message's own words that Flower is shown; a farm's are shorter.
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A message in this worker's hands."""

    hint: Hint
    #: Its field in the worker's un-acked hash.
    tag: str
    #: What every event says of it: see `news.title`.
    title: str
    argsrepr: str


class Intake:
    """The messages of one worker, and the door behind its transport.

    What the transport calls runs on Celery's thread; the rest on any.
    """

    def __init__(self, models: Collection[str]) -> None:
        self._models = frozenset(models)
        self._forms = Forms()
        self._held: dict[str, Held] = {}
        #: How many of them there are of each model.
        self._count: Counter[str] = Counter()
        #: Un-acked entries in this worker's care, until Redis has forgotten them.
        self._tags: set[str] = set()
        self._news = News()
        #: Entries to let go of at the next flush.
        self._done: list[str] = []
        self._is_arranged = False
        self._lock = threading.Lock()
        self._consumer: Any = None
        self._offer: Callable[[Sequence[Hint]], list[str]] = lambda hints: []
        self._room: Callable[[str], int] = lambda model: 0
        self._bury: Callable[[Sequence[tuple[str, Letter]]], None] = lambda letters: None

    def connect(
        self,
        offer: Callable[[Sequence[Hint]], list[str]],
        room: Callable[[str], int],
        bury: Callable[[Sequence[tuple[str, Letter]]], None],
    ) -> None:
        """Say where hints go, which answers with the ids that wait there already, how to ask for
        the room in a model's line, and who takes refused messages, each with its tag; `forget`
        is then told."""
        self._offer = offer
        self._room = room
        self._bury = bury

    def attach(self, consumer: Any) -> None:
        """Speak through that consumer from now on: the first, or the one of a new connection."""
        self._consumer = consumer
        with self._lock:
            self._is_arranged = False  # what the old connection had arranged went with it
        self._arrange_flush()

    def room(self, queue: str) -> int:
        """How many messages of that queue are wanted now."""
        return self._room(queue.removeprefix(queue_name("")))

    def in_hand(self, queue: str) -> int:
        """How many messages of that queue are held."""
        with self._lock:
            return self._count[queue.removeprefix(queue_name(""))]

    def take(self, found: Sequence[Taken]) -> None:
        """Hold messages and offer their hints; those that nobody can use go to dead letters."""
        held: list[Held] = []
        refused: list[tuple[Taken, str]] = []
        for taken in found:
            try:
                held.append(self._read(taken))
            except Refused as verdict:
                refused.append((taken, verdict.reason))
        self.receive(held)
        if refused:
            self._refuse(refused)

    def receive(self, messages: Sequence[Held]) -> None:
        """Hold messages that can be used, and offer their hints."""
        fresh: list[Held] = []
        with self._lock:
            self._tags.update(held.tag for held in messages)
            for held in messages:
                if held.hint.task_id in self._held:  # the message in hand stands for both
                    self._done.append(held.tag)
                else:
                    self._held[held.hint.task_id] = held
                    fresh.append(held)
            self._count.update(held.hint.model for held in fresh)
        self._news.received((held.title, held.argsrepr) for held in fresh)
        self._arrange_flush()
        doubles = self._offer([held.hint for held in fresh])
        if doubles:
            self.acknowledge([End(task_id, State.QUEUED) for task_id in doubles])

    def _refuse(self, refused: Sequence[tuple[Taken, str]]) -> None:
        """Have messages kept as dead letters that nobody can use."""
        with self._lock:
            self._tags.update(taken.tag for taken, _ in refused)
        for taken, reason in refused:
            log.warning("dead letter from %s, %d bytes: %s", taken.queue, taken.size, reason)
        self._bury([(t.tag, Letter(t.queue, reason, t.raw, t.size)) for t, reason in refused])

    def holds(self, tag: str) -> bool:
        """Whether that un-acked entry is in this worker's care."""
        with self._lock:
            return tag in self._tags

    def forget(self, tags: Iterable[str]) -> None:
        """Let go of un-acked entries, without a word to Flower."""
        with self._lock:
            self._done += tags
        self.wake()

    def started(self, claims: Iterable[Claim]) -> None:
        """Tell Flower that those tasks are on the engine."""
        found = self._find(claim.task_id for claim in claims)
        self._news.started(held.title for held in found)
        self.wake()

    def acknowledge(self, ends: Sequence[End]) -> None:
        """Let go of those tasks' messages, and tell Flower how the tasks ended."""
        end_of = {end.task_id: end for end in ends}
        found = self._find(end_of, forget=True)
        self._news.ended((held.title, end_of[held.hint.task_id]) for held in found)
        self.forget(held.tag for held in found)

    def settle(self, seconds: float) -> None:
        """Have what was noted sent now; returns after that, or after so long."""
        hub, settled = getattr(self._consumer, "hub", None), threading.Event()
        if hub is not None:
            hub.call_soon(self._flush)
            hub.call_soon(settled.set)
            settled.wait(seconds)

    def _find(self, task_ids: Iterable[str], *, forget: bool = False) -> list[Held]:
        with self._lock:
            get = self._held.pop if forget else self._held.get
            found = [held for task_id in task_ids if (held := get(task_id, None)) is not None]
            if forget:
                self._count.subtract(held.hint.model for held in found)
        return found

    def _read(self, taken: Taken) -> Held:
        """What a message says. Raises Refused."""
        opened = self._forms.read(taken.raw, taken.size)
        hint = opened.hint
        if hint.model not in self._models:
            raise Refused("unknown_model")
        named = title(hint.task_id, _shown(opened.shadow) or TASK_NAME)
        return Held(hint, taken.tag, named, _shown(opened.argsrepr))

    def wake(self) -> None:
        """Have Celery's thread flush soon, and ask for messages at once: there may be room."""
        self._arrange_flush()
        hub = getattr(self._consumer, "hub", None)
        if hub is not None:
            hub.call_soon(_look_again)

    def _arrange_flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Have Celery's thread flush soon: its connection is not for two threads at once."""
        hub = getattr(self._consumer, "hub", None)
        with self._lock:
            if self._is_arranged or hub is None:
                return
            self._is_arranged = True
        hub.call_soon(lambda: hub.call_later(seconds, self._flush))

    def _flush(self) -> None:
        """Events first and out of their buffer: once its message is gone nobody sends them.

        Events that cannot be sent are lost, entries that cannot be let go of wait: for the
        next connection, which `attach` tells of, or for a server that takes writes again.
        """
        with self._lock:
            self._is_arranged = False
            done, self._done = self._done, []
        with self._failing("events are lost"):
            self._news.send(self._consumer.event_dispatcher)
        with self._failing(f"{len(done)} messages are let go of later") as failed:
            if done:
                self._consumer.task_consumer.channel.qos.let_go(done)
        with self._lock:
            if failed:
                self._done = done + self._done
            else:
                self._tags.difference_update(done)
        if failed:
            self._arrange_flush(AGAIN_SECONDS)

    @contextmanager
    def _failing(self, so: str) -> Iterator[list[Exception]]:
        """Log what goes wrong; it is in what is yielded. Celery's timer would swallow the rest,
        and with it the entries that were to go."""
        failed: list[Exception] = []
        try:
            yield failed
        except Exception as error:  # noqa: BLE001  # of the connection, the server, or our own
            log.warning("%s: %s: %s", so, type(error).__name__, error)
            failed.append(error)


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
    """What Celery asks for with each connection, and would call with each message of `Generate`.

    None comes that way: the transport hands them to the intake itself.
    """
    task.intake.attach(consumer)

    def refuse(*_message: object, **_options: object) -> None:
        raise InvalidTaskError("a task came past the farm's transport. This is a bug.")

    return refuse


def _look_again() -> None:
    """Nothing: that the hub goes round is enough for the transport to ask again."""


def _shown(words: object) -> str:
    return words[:SHOWN] if isinstance(words, str) else ""
