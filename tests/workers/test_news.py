"""Celery's own receiver, which is Flower's, understands what the news broadcasts."""

from contextlib import suppress
from typing import Any

from genfarm_shared.queue import make_app
from genfarm_shared.tasks import State
from genfarm_workers.news import EVENTS, End, News, title
from tests.waiting import until

WORDS = 'job "0" item\n1 · ünlike'


def test_the_events_of_a_task_come_whole_in_order_and_with_their_own_time(
    broker_url: str,
) -> None:
    ends = {State.SUCCEEDED: "succeeded", State.FAILED: "failed", State.CANCELLED: "revoked"}
    news, got = News(), list[dict[str, Any]]()
    for state in (*ends, State.QUEUED):
        named = title(state, "sleep · sleep")
        news.received([(named, WORDS)])
        news.started([named])
        news.ended([(named, End(state, state, WORDS, 0.25))])
    _broadcast(broker_url, news, got, 11)
    for state, word in ends.items():
        events = [event for event in got if event["uuid"] == state]
        assert [event["type"] for event in events] == [f"task-{word}" for word in _way(word)]
        assert {event["name"] for event in events} == {"sleep · sleep"}
        assert events[0]["args"] == WORDS
        clocks = [(event["clock"], event["timestamp"]) for event in events]
        assert clocks == sorted(clocks)
    done = [event for event in got if event["type"] == "task-succeeded"]
    assert [(event["result"], event["runtime"]) for event in done] == [(WORDS, 0.25)]


def test_more_events_than_a_broadcast_takes_are_all_sent(broker_url: str) -> None:
    news, got = News(), list[dict[str, Any]]()
    news.started([title(str(number), "x") for number in range(EVENTS + 1)])
    _broadcast(broker_url, news, got, EVENTS + 1)
    assert len({event["uuid"] for event in got}) == EVENTS + 1
    assert len({event["clock"] for event in got}) == EVENTS + 1


def _way(end: str) -> tuple[str, ...]:
    return ("received", "started", end)


def _broadcast(url: str, news: News, got: list[dict[str, Any]], total: int) -> None:
    """Send the news to a receiver that listens already; returns once it heard that many."""
    app = make_app(url)
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": got.append})
        with receiver.consumer_context() as (listening, *_):
            with suppress(TimeoutError):
                listening.drain_events(timeout=0.05)  # only now does kombu subscribe
            news.send(app.events.Dispatcher(connection))

            def heard() -> bool:
                listening.drain_events(timeout=5)
                return len(got) >= total

            until(heard)
