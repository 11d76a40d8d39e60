"""How often a worker asks for messages, and what a question costs Redis."""

from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any

import kombu
import pytest
import redis

from genfarm_shared.messages import STEPS
from genfarm_shared.queue import PREFIX, Broker
from tests.waiting import until

from .test_transport import Desk, hints


def test_a_worker_with_its_share_asks_only_now_and_then(broker_url: str) -> None:
    """It rings for the others, and must not hear that itself."""
    with redis.Redis.from_url(broker_url) as client:
        seconds, _ = client.time()
        client.hset(f"{PREFIX}askers.model.sleep", "other", f"{seconds + 1} 0")
        Broker(broker_url).publish(hints(1))
        desk, before = Desk(broker_url, in_hands=5), calls(client, "eval")
        with desk.open() as connection:  # the other counts for one second and more
            turn(lambda: desk.got, connection)
        assert 5 < calls(client, "eval") - before < 100


@pytest.mark.parametrize(("in_hands", "seconds"), [(0, "0.25"), (5, "0.01")])
def test_beside_a_closed_queue_a_worker_listens_longer_than_beside_a_full_one(
    broker_url: str, in_hands: int, seconds: str
) -> None:
    """A full one has room again with the next batch; one that is closed may have none for long."""
    desk = Desk(broker_url, in_hands=in_hands, models=["sleep", "floats"])
    with redis.Redis.from_url(broker_url) as client, desk.open() as connection:
        before = calls(client, "bzpopmin")
        with client.monitor() as seen:
            turn(lambda: calls(client, "bzpopmin") > before, connection)
            commands = (seen.next_command()["command"].split() for _ in range(100))
            asked = next(words for words in commands if words[0] == "BZPOPMIN")
    assert asked == ["BZPOPMIN", f"{PREFIX}bell.model.sleep", seconds]


def test_a_question_counts_each_list_once(broker_url: str) -> None:
    Broker(broker_url).publish(hints(3))
    desk = Desk(broker_url)
    with redis.Redis.from_url(broker_url) as client, desk.open() as connection:
        client.config_resetstat()
        turn(lambda: len(desk.got) == 3, connection)
        assert calls(client, "llen") == STEPS * calls(client, "eval") == STEPS


def turn(condition: Callable[[], object], connection: kombu.Connection) -> None:
    """Let messages in until the condition holds, without a pause, as Celery's event loop does."""

    def look() -> object:
        for _ in range(1000):
            with suppress(Empty):
                connection.transport.cycle.get(None, timeout=1)
            if condition():
                return True
        return False

    until(look)


def calls(client: Any, command: str) -> int:
    """How often anybody has sent that command so far."""
    return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])
