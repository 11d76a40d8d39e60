"""Messages are taken in bulk, are never in no key, and stock Celery's tools meet nothing new."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import kombu
import pytest
import redis

from genfarm_shared.messages import (
    MAX_BYTES,
    Refused,
    open_message,
    read_hint,
    unwrap,
    write_message,
)
from genfarm_shared.queue import PREFIX, Broker, list_key, make_app
from genfarm_shared.tasks import Hint, State
from genfarm_workers.transport import (
    RECONNECT_LONGEST,
    TAKE,
    Taken,
    connection_class,
    reconnect_intervals,
)
from tests.waiting import until
from tests.yard import Yard


class Desk:
    """A door with so much room, that keeps what comes through."""

    def __init__(
        self,
        url: str,
        worker_id: str = "w",
        room: int = 10_000,
        in_hands: int = 0,
        models: Sequence[str] = ("sleep",),
    ) -> None:
        self.app = make_app(url, models, worker_id=worker_id)
        self.url, self.space, self.in_hands = url, room, in_hands
        self.got: list[tuple[Taken, Hint]] = []
        self.refused: list[tuple[Taken, str]] = []

    def room(self, queue: str) -> int:
        return self.space - len(self.got) if queue == "model.sleep" else 0

    def in_hand(self, queue: str) -> int:
        return self.in_hands + len(self.got)

    def take(self, found: Sequence[Taken]) -> None:
        for taken in found:
            try:
                self.got.append((taken, read_hint(open_message(taken.raw, taken.size))))
            except Refused as verdict:
                self.refused.append((taken, verdict.reason))

    def holds(self, tag: str) -> bool:
        return tag in self.tags() | {taken.tag for taken, _ in self.refused}

    def tags(self) -> set[str]:
        return {taken.tag for taken, _ in self.got}

    @contextmanager
    def open(self) -> Iterator[kombu.Connection]:
        """A connection that consumes; `drain_events` lets messages in."""
        options = self.app.conf.broker_transport_options
        with connection_class(self)(self.url, transport_options=options) as connection:
            queues = list(self.app.amqp.queues.values())
            with kombu.Consumer(connection, queues, on_message=lambda _message: None):
                yield connection


def hints(total: int, priority: int = 0) -> list[Hint]:
    return [
        Hint(f"j{priority}-{n:06d}", "sleep", "sleep", "sleep", 1, priority) for n in range(total)
    ]


def ids(desk: Desk) -> list[str]:
    return [hint.task_id for _, hint in desk.got]


@pytest.fixture
def client(broker_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(broker_url) as client:
        yield client


def test_one_step_takes_many_in_order_and_writes_their_entries(
    broker_url: str, client: Any
) -> None:
    Broker(broker_url).publish(hints(TAKE) + hints(10, priority=9))
    desk = Desk(broker_url)
    with desk.open() as connection:
        connection.drain_events(timeout=5)
        urgent, normal = hints(10, priority=9), hints(TAKE - 10)
        assert ids(desk) == [hint.task_id for hint in urgent + normal]
        assert client.llen(list_key("sleep", 0)) == 10
        entries = client.hgetall(f"{PREFIX}unacked.w")
        assert set(entries) == {tag.encode() for tag in desk.tags()}
        # As kombu writes them, so that its own tools could restore them.
        message, exchange, queue = json.loads(entries[desk.got[0][0].tag.encode()])
        assert (message["headers"]["id"], exchange, queue) == ("j9-000000", "", "model.sleep")


def test_no_more_is_taken_than_there_is_room_for(broker_url: str, client: Any) -> None:
    Broker(broker_url).publish(hints(20))
    desk = Desk(broker_url, room=7)
    with desk.open() as connection:
        connection.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.3)
    assert (len(desk.got), client.llen(list_key("sleep", 0))) == (7, 13)


def test_two_idle_workers_share_what_comes(broker_url: str) -> None:
    """Though either had room for all of it."""
    first, second = Desk(broker_url, "a"), Desk(broker_url, "b")
    with first.open() as one, second.open() as other:
        for connection in (one, other):  # both have asked, and found nothing
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.01)
        Broker(broker_url).publish(hints(40))
        let_in(lambda: len(first.got) + len(second.got) == 40, one, other)
    assert {len(first.got), len(second.got)} == {20}


@pytest.mark.parametrize("noted", ["9999999999.000 0", "soon 0", "nan 0", "1e400 0", ""])
def test_an_asker_whose_time_makes_no_sense_is_none(
    broker_url: str, client: Any, noted: str
) -> None:
    """After a clock was set back its entries would be of the future, and for ever."""
    client.hset(f"{PREFIX}askers.model.sleep", mapping={f"a{n}": noted for n in range(10)})
    Broker(broker_url).publish(hints(20))
    desk = Desk(broker_url, in_hands=5)
    with desk.open() as connection:
        let_in(lambda: len(desk.got) == 20, connection)
    assert client.hkeys(f"{PREFIX}askers.model.sleep") == [f"{PREFIX}unacked.w".encode()]


def test_what_a_broken_connection_took_is_handed_on_by_the_next(
    broker_url: str, client: Any
) -> None:
    """The server has run the script, and its answer never comes."""
    Broker(broker_url).publish(hints(3))
    desk = Desk(broker_url)
    with desk.open() as connection:
        (channel,) = connection.transport.channels
        connection.transport.cycle.on_poll_start()  # the question is sent
        until(lambda: client.hlen(f"{PREFIX}unacked.w") == 3)
        channel.client.connection.disconnect()
    assert desk.got == []
    with desk.open() as connection:
        let_in(lambda: len(desk.got) == 3, connection)
    assert ids(desk) == [hint.task_id for hint in hints(3)]


def test_a_connection_that_is_renewed_underneath_loses_nothing(
    broker_url: str, client: Any
) -> None:
    """Kombu drops one whose answer is overdue, and stays with the channel."""
    Broker(broker_url).publish(hints(3))
    desk = Desk(broker_url)
    with desk.open() as connection:
        (channel,) = connection.transport.channels
        channel._look_at = float("inf")  # not by the clock
        connection.transport.cycle.on_poll_start()
        until(lambda: client.hlen(f"{PREFIX}unacked.w") == 3)
        channel.client.connection.disconnect()
        let_in(lambda: len(desk.got) == 3, connection)
    assert ids(desk) == [hint.task_id for hint in hints(3)]


def test_a_take_that_is_run_after_it_was_given_up_is_found(broker_url: str, client: Any) -> None:
    """By a server that stood still; one of the messages is too large to be read whole."""
    desk = Desk(broker_url)
    with desk.open() as connection:
        Broker(broker_url).publish(hints(1))
        let_in(lambda: len(desk.got) == 1, connection)
        late = [write_message(hints(2)[1]).encode(), b"x" * 3_000_000]
        for tag, raw in enumerate(late):
            entry = b"[" + raw + b',"","model.sleep"]'
            client.hset(f"{PREFIX}unacked.w", f"late.{tag}", entry)
        let_in(lambda: len(desk.got) == 2 and desk.refused, connection)
    assert ids(desk) == [hint.task_id for hint in hints(2)]
    ((taken, _),) = desk.refused
    assert (taken.tag, taken.size, taken.raw) == ("late.1", 3_000_000, b"x" * 200)


def test_messages_are_taken_while_redis_has_no_memory_left(broker_url: str, client: Any) -> None:
    Broker(broker_url).publish(hints(3))
    desk = Desk(broker_url)
    with desk.open() as connection:
        client.config_set("maxmemory", "1")
        try:
            let_in(lambda: len(desk.got) == 3, connection)
            with pytest.raises(TimeoutError):  # asked in vain, and not refused
                connection.drain_events(timeout=0.1)
        finally:
            client.config_set("maxmemory", "0")
    assert client.hlen(f"{PREFIX}unacked.w") == 3


def test_a_bad_message_of_a_dead_worker_comes_back_byte_for_byte(
    broker_url: str, client: Any
) -> None:
    bad = [b"\x80\x04\x95\xff\x00", b'"",""]', b"[" * 9]
    client.lpush(list_key("sleep", 0), *bad)
    desk = Desk(broker_url)
    with desk.open() as connection:
        let_in(lambda: len(desk.refused) == 3, connection)
    entries = client.hvals(f"{PREFIX}unacked.w")
    assert {(unwrap(entry) or ("", b""))[1] for entry in entries} == set(bad)
    assert Broker(broker_url).restore("w") == 3
    assert set(client.lrange(list_key("sleep", 0), 0, -1)) == set(bad)


def test_of_a_huge_message_only_the_head_leaves_redis(broker_url: str, client: Any) -> None:
    """And those that came in one answer with it are whole."""
    largest = write_message(hints(1)[0]).encode().ljust(MAX_BYTES)
    client.lpush(list_key("sleep", 0), b"x" * 3_000_000, largest, b"")
    desk = Desk(broker_url)
    with desk.open() as connection:
        let_in(lambda: len(desk.refused) == 2, connection)
    found = [(taken.size, len(taken.raw), reason) for taken, reason in desk.refused]
    assert found == [(3_000_000, 200, "too_large"), (0, 0, "not_json")]
    assert [taken.raw for taken, _ in desk.got] == [largest]


def test_a_lost_connection_is_tried_again_often_and_not_in_step() -> None:
    found = [reconnect_intervals() for _ in range(20)]
    assert all(0 < one["interval_start"] < one["interval_max"] for one in found)
    assert max(one["interval_max"] for one in found) <= RECONNECT_LONGEST
    assert len({one["interval_max"] for one in found}) > 1


def test_stock_celery_tools_work_with_a_farm_worker(yard: Yard, broker_url: str) -> None:
    worker = yard.start_worker("sleep")
    job = yard.submit("sleep", *[0.0] * 3)
    until(lambda: yard.finished(job))
    app = make_app(broker_url)
    with redis.Redis.from_url(broker_url) as client:  # broadcasts that make no sense
        for nonsense in ("[]", "{", '{"properties": {"body_encoding": "base64"}, "body": "%"}'):
            client.publish(f"{PREFIX}/0.celery.pidbox", nonsense)
    inspect = app.control.inspect(timeout=10, limit=1)
    ((name, stats),) = inspect.stats().items()
    assert (name, stats["pid"]) == (worker.node, worker.pid)
    assert inspect.registered()[name] == ["genfarm.generate"]
    again = make_app(broker_url, ["sleep"])  # a stock client's message is a message
    wanted = ("sleep", "sleep", "sleep", 1)
    last = yard.submit("sleep", 0.0)
    again.send_task("genfarm.generate", wanted, task_id=f"{last}-000000", queue="model.sleep")
    until(lambda: yard.states(last) == {State.SUCCEEDED: 1})
    assert yard.store.list_letters(10) == []
    assert yard.broker.foreigners() == []


def test_replies_come_through_though_no_task_is_wanted(broker_url: str) -> None:
    """`celery -A genfarm_workers.app inspect` reads its replies through the same transport."""
    desk = Desk(broker_url, room=0)
    with connection_class(desk)(
        broker_url, transport_options=desk.app.conf.broker_transport_options
    ) as connection:
        replies = connection.SimpleQueue("replies")
        replies.put({"pong": True})
        assert replies.get(timeout=5).payload == {"pong": True}


def test_another_celery_application_on_the_same_keys_is_named(broker_url: str) -> None:
    theirs = kombu.Connection(broker_url, transport_options={"global_keyprefix": PREFIX})
    with theirs:
        theirs.SimpleQueue("celery").put({})
    assert Broker(broker_url).foreigners() == [f"{PREFIX}_kombu.binding.celery"]


def let_in(condition: Callable[[], object], *connections: kombu.Connection) -> None:
    """Let messages in until the condition holds."""

    def look() -> object:
        for connection in connections:
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.02)
        return condition()

    until(look)
