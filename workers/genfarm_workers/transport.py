"""Kombu's Redis transport as a worker uses it: messages are taken in bulk, and checked first.

The same keys and the same wire format as kombu's own, so that stock clients,
`celery inspect` and Flower meet nothing new. What differs:

    take      one script pops up to TAKE messages and writes their un-acked entries in the same
              step of the server: a message is in a list or in a worker's hash at every moment.
              BRPOP, which kombu uses, leaves it in no key until the worker writes the entry.
    adopt     an answer that is lost leaves entries in the hash that nobody here knows of, and the
              keeper counts as held. They are looked for when an answer did not come, and every
              LOOK seconds while there is room: a server that stood still may run a take long
              after its asker has given it up
    wait      a worker that found nothing blocks on a bell, which takes no message; who leaves
              messages behind rings for the next worker, and does not listen for a moment
    hand on   raw bytes, many at once, past kombu's and Celery's own hands: what those decode
              one by one costs ten times more, and some of it ends a stock worker
    let go    one HDEL for many, over whatever connection stands now
    come back after 0.2 to 1.5 s, where kombu waits 2, 4, .. 30 s

Knows no model and no store.
"""

import itertools
import logging
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty
from time import monotonic
from typing import Any, Protocol

import redis
from kombu import Connection
from kombu.transport import redis as stock

from genfarm_shared.messages import HEAD_BYTES, MAX_BYTES, STEPS, queue_name, unwrap
from genfarm_shared.queue import PREFIX, bell_key
from genfarm_workers.scripts import PEEK_SCRIPT, TAKE_SCRIPT

log = logging.getLogger(__name__)

#: Messages taken in one step. Larger ones gain little, for while a batch is claimed the next takes
#: gather; and so many of the largest size are 16 MB.
TAKE = 256
#: Seconds that a worker waits for the bell of its open queues while another queue of its is
#: full: that one may be open again sooner than a bell rings. Not for a queue of which nothing
#: is held: it is closed, for a model that rests or is not loaded, and for seconds or hours.
SHORT_WAIT = 0.01
#: Seconds for which a worker that has its share already leaves what waits to others: it would
#: hear the bell that it rang for them itself, and ask in vain thousands of times a second. An
#: empty-handed worker never waits so, for its share is one message at least.
SHARE_WAIT = 0.05
#: What that worker listens to meanwhile: nobody rings it.
SILENCE = f"{PREFIX}silence"
#: Seconds before the first try to connect again, and the most between two, with jitter below.
RECONNECT_FIRST = 0.2
RECONNECT_LONGEST = 1.5

#: Seconds for which a worker that asked for messages counts as one that wants some. A few
#: waits long, so that an idle worker always counts, and one that was killed soon does not.
HUNGRY = 1.0

#: Seconds between two comparisons of the un-acked entries with what is held here: how late a
#: message may be whose take was lost. One costs one short command.
LOOK = 2.0
#: Bytes of the end of a large entry that are read: enough for the longest name of a queue.
ENTRY_TAIL = 1024

#: Unique in the process, and so in its un-acked hash: two equal messages are two.
_takes = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message as it came out of its list."""

    queue: str
    #: Its field in the un-acked hash.
    tag: str
    #: Bytes of the whole message.
    size: int
    #: The message; the beginning of one that is too large.
    raw: bytes


class Door(Protocol):
    """What stands behind the transport. Called on Celery's thread."""

    def room(self, queue: str) -> int:
        """How many messages of that queue are wanted now."""

    def in_hand(self, queue: str) -> int:
        """How many messages of that queue are held."""

    def take(self, found: Sequence[Taken]) -> None:
        """Take care of messages, be they good or bad."""

    def holds(self, tag: str) -> bool:
        """Whether that un-acked entry is in somebody's care here."""


class QoS(stock.QoS):  # type: ignore[misc]
    """The un-acked hash is written by the take and read by the keeper; no clock restores it."""

    restore_at_shutdown = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Nothing: its entry was there before the message was."""

    def ack(self, delivery_tag: str) -> None:
        self.let_go([delivery_tag])

    def let_go(self, tags: Sequence[str]) -> None:
        """Forget messages, of this connection or of one before it."""
        with self.channel.conn_or_acquire() as client:
            client.hdel(self.unacked_key, *tags)

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Nothing: the keeper restores what the dead held."""


class Channel(stock.Channel):  # type: ignore[misc]
    """Takes with a script where kombu pops one by one."""

    QoS = QoS

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._door: Door = connection.door
        self._asked = ""
        #: What the last take told: that nothing waits, or that nothing that waits is for us.
        self._is_quiet = False
        self._has_share = False
        #: What the tags of the last take begin with.
        self._prefix = ""
        #: Whether a take has been sent whose answer has not come.
        self._is_awaited = False
        #: When un-acked entries are next compared with what is held; monotonic seconds.
        self._look_at = 0.0

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for messages, or for the bell when the last question found none."""
        served = self._queue_cycle.consume(len(self.active_queues))
        if not any(queue.startswith(queue_name("")) for queue in served):
            self._asked = "BRPOP"  # replies to `celery inspect`, say: kombu's own way
            super()._brpop_start(timeout)
            return
        is_due = self._is_awaited or monotonic() >= self._look_at
        if is_due and self._rooms(served):
            self._adopt(served)
        rooms = self._rooms(served)
        if not rooms:
            return  # asked again when the hub wakes, which the intake sees to
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        command: list[Any]
        if self._has_share:
            command = ["BZPOPMIN", SILENCE, SHARE_WAIT]
        elif self._is_quiet:
            is_full = any(self._door.in_hand(queue) for queue in served if queue not in rooms)
            wait = SHORT_WAIT if is_full else self.brpop_timeout
            command = ["BZPOPMIN", *map(bell_key, rooms), timeout or wait]
        else:
            command = ["EVAL", TAKE_SCRIPT, *self._take_arguments(rooms)]
        self._asked = command[0]
        self._is_awaited = self._asked == "EVAL"
        self.client.connection.send_command(*command)

    def _brpop_read(self, **options: Any) -> bool:
        if self._asked == "BRPOP":
            return bool(super()._brpop_read(**options))
        connection = self.client.connection
        try:
            reply = connection.read_response()
            self._is_awaited = False
        except self.connection_errors:
            connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        behind, *runs = reply if self._asked == "EVAL" else (0,)
        self._has_share = not runs and behind > 0
        self._is_quiet = self._asked == "EVAL" and not (runs or behind)
        if not runs:
            raise Empty
        self._hand_on(list(_read_runs(self._prefix, runs)))
        return True

    def _poll_error(self, type: str, **options: Any) -> Any:  # noqa: A002  # kombu's name
        return super()._poll_error(type, **options) if type == "LISTEN" else self._brpop_read()

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        """A control message that makes no sense is dropped: whoever sent it awaits no task."""
        try:
            return super()._deliver_fanout_message(message, exchange)
        except (OSError, redis.RedisError):
            raise
        except Exception as error:  # one bad broadcast would end every worker
            log.warning("control message on %s dropped: %s", exchange, type(error).__name__)
            raise Empty from error

    def _rooms(self, served: Iterable[str]) -> dict[str, int]:
        return {queue: room for queue in served if (room := self._door.room(queue)) > 0}

    def _take_arguments(self, rooms: dict[str, int]) -> list[object]:
        prefix = self.global_keyprefix
        keys = [f"{prefix}{self.unacked_key}"]
        for queue in rooms:
            lists = (self._q_for_pri(queue, step) for step in self.priority_steps)
            keys += [bell_key(queue), f"{prefix}askers.{queue}"]
            keys += [f"{prefix}{name}" for name in lists]
        self._prefix = f"{next(_takes)}."
        shape = [self._prefix, TAKE, MAX_BYTES, HEAD_BYTES, HUNGRY, STEPS]
        queues = [(queue, room, self._door.in_hand(queue)) for queue, room in rooms.items()]
        return [len(keys), *keys, *shape, *itertools.chain(*queues)]

    def _hand_on(self, found: Sequence[Taken]) -> None:
        self._door.take(found)
        for queue in {taken.queue for taken in found}:
            self._queue_cycle.rotate(queue)

    def _adopt(self, served: Collection[str]) -> None:
        """Hand on what was taken for this worker by a take whose answer never came.

        Called while no question is out, so an entry that nobody holds here is in no answer
        that is still to be read. TAKE entries at a time, and of large ones the beginning
        alone, as a take does.
        """
        self._is_awaited, self._look_at = False, monotonic() + LOOK
        key = f"{self.global_keyprefix}{self.unacked_key}"
        with self.conn_or_acquire() as client:
            tags = [tag for tag in client.hkeys(key) if tag.isascii()]  # ours all are
            strays = [tag for tag in tags if not self._door.holds(tag.decode())]
            bounds = [MAX_BYTES + ENTRY_TAIL, 1 + HEAD_BYTES, ENTRY_TAIL]
            found = client.eval(PEEK_SCRIPT, 1, key, *bounds, *strays[:TAKE]) if strays else []
        entries = (_read_entry(*entry) for entry in zip(*[iter(found)] * 4, strict=True))
        adopted = [taken for taken in entries if taken is not None and taken.queue in served]
        if adopted:
            log.warning("%d messages were taken without an answer", len(adopted))
            self._hand_on(adopted)


def _read_runs(prefix: str, runs: Sequence[Any]) -> Iterator[Taken]:
    """The messages of a take's answer, as its script says."""
    for queue, number, sizes, joined in zip(*[iter(runs)] * 4, strict=True):
        name, at = queue.decode(), 0
        for tag, size in enumerate(map(int, sizes.split()), number):
            end = at + (size if size <= MAX_BYTES else HEAD_BYTES)
            yield Taken(name, f"{prefix}{tag}", size, joined[at:end])
            at = end


def _read_entry(tag: bytes, size: int, head: bytes, tail: bytes) -> Taken | None:
    """An un-acked entry, of which the middle may be missing; None where it is none."""
    found = unwrap(head + tail)
    if found is None:
        return None
    queue, raw = found
    whole = size - (len(head + tail) - len(raw))
    return Taken(queue, tag.decode(), whole, raw[:HEAD_BYTES] if tail else raw)


class Transport(stock.Transport):  # type: ignore[misc]
    """One worker's transport."""

    Channel = Channel

    def __init__(self, client: Any, door: Door) -> None:
        self.door = door
        super().__init__(client)


def connection_class(door: Door) -> type[Connection]:
    """Kombu's connection, by that transport, for `app.amqp.Connection`."""

    class FarmConnection(Connection):  # type: ignore[misc]
        def create_transport(self) -> Transport:
            return Transport(self, door)

        def ensure_connection(self, *args: Any, **options: Any) -> Connection:
            return super().ensure_connection(*args, **{**reconnect_intervals(), **options})

    return FarmConnection


def reconnect_intervals() -> dict[str, float]:
    """Kombu's words for how long to wait between tries, jittered so that no fleet is in step."""
    spread = random.uniform(0.7, 1.0)  # noqa: S311
    return {
        "interval_start": RECONNECT_FIRST * spread,
        "interval_step": RECONNECT_FIRST * spread,
        "interval_max": RECONNECT_LONGEST * spread,
    }
