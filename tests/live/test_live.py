"""Watching a task from the client, through Redis and a worker process, to its engine."""

import os
import signal
from pathlib import Path

import pytest

from genfarm import Farm, Item, ItemCancelled, ItemFailed, ItemTimeout
from genfarm.link import Address, Link
from genfarm.live import Listener
from genfarm_shared.drill import SIDE, answer, pixels
from genfarm_shared.live import Live, Sight
from tests.servers import RedisServer
from tests.waiting import until
from tests.yard import Yard


def ask(farm: Farm, **params: object) -> Item:
    """A drill; what it answers is known."""
    return farm.submit("drill", {"text": "a tale", **params}, model="drill")


def test_a_text_is_streamed_as_it_grows(farm: Farm) -> None:
    item = ask(farm, seconds=8.0, aloud=True)
    stream = item.stream()
    pieces = [next(stream) for _ in range(3)]
    assert not item.done()
    assert answer(0, "a tale").startswith("".join(pieces))
    item.cancel()
    with pytest.raises(ItemCancelled):
        list(stream)


def test_a_picture_is_seen_before_it_is_done(yard: Yard, farm: Farm) -> None:
    """From another handle than the one that asked for it."""
    asked = ask(farm, seconds=1.2, picture=True)
    with Farm(home=yard.settings.home, broker=yard.settings.broker) as other:
        *before, last = other.job(asked.job_id)[0].watch()
        assert last.preview is not None
        assert last.preview.tobytes() == pixels(0, "a tale")
    done = [one.done for one in before]
    assert done
    assert done == sorted(done)
    assert all(one.total == last.total == last.done for one in before)
    assert all(one.preview and one.preview.size == (SIDE, SIDE) for one in before)


def test_who_watches_learns_how_it_ended(farm: Farm) -> None:
    failing = ask(farm, fault="bad-output", aloud=True)
    with pytest.raises(ItemFailed, match="no JSON"):
        list(failing.stream())
    endless = farm.submit("sleep", 600.0)
    with pytest.raises(ItemTimeout, match=r"has not ended after 0\.1 s"):
        list(endless.watch(timeout=0.1))
    endless.cancel()


def test_a_farm_without_a_broker_gives_the_text_at_the_end(yard: Yard, farm: Farm) -> None:
    item = ask(farm, seconds=0.3, aloud=True)
    with Farm(store=yard.settings.store_url) as reading:
        assert list(reading.job(item.job_id)[0].stream()) == [answer(0, "a tale")]


def test_who_watches_hears_again_when_redis_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    link = Link(Address(f"sqlite:///{tmp_path / 'farm.db'}", server.url, str(tmp_path), 10))
    listener, live = Listener(Item(link, "job", 0, "x"), link), Live(server.url)

    def is_heard() -> bool:
        listener.hear(0.05)
        live.show([Sight("job-0", 1, 3, 8)])
        return listener.hear(0.5) is not None

    until(is_heard)
    server.kill()
    assert [listener.hear(0.05) for _ in range(5)] == [None] * 5
    server.start()
    until(is_heard)
    for door in (listener, live, link):
        door.close()
    server.stop()


def test_a_stream_goes_on_when_its_worker_is_killed(yard: Yard, farm: Farm) -> None:
    """Nothing is said twice, and nothing is missing."""
    (victim,) = yard.store.list_workers()
    item = ask(farm, seconds=2.0, aloud=True)
    stream = item.stream()
    pieces = [next(stream)]
    os.kill(victim.pid, signal.SIGKILL)
    yard.start_worker("drill,sleep")
    pieces += stream
    assert "".join(pieces) == answer(0, "a tale")
    assert len(pieces) > 2
    assert item.result().timing.attempt == 2
    assert list(item.stream()) == ["".join(pieces)] == [item.result().text]
