"""Messages are Celery's own, and the keeper finds what Redis lost."""

import json
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.keeper import Keeper, dispatch
from genfarm_shared.liveness import name_process
from genfarm_shared.messages import TASK_NAME
from genfarm_shared.queue import PREFIX, Broker, make_app
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import Hint, State

from .farmyard import add_job, add_worker, ended_process, ids, states


def test_stock_celery_reads_a_published_message(broker_url: str) -> None:
    Broker(broker_url).publish([Hint("job1-000007", "sleep", "sleep", "sleep|", 3, priority=2)])
    app: Celery = make_app(broker_url, ["sleep"], worker_id="w")
    with Connection(broker_url, transport_options=app.conf.broker_transport_options) as connection:
        message = connection.SimpleQueue(app.amqp.queues["model.sleep"]).get(timeout=5)
        message.ack()
    assert message.headers["task"] == TASK_NAME
    assert message.headers["id"] == "job1-000007"
    assert message.headers["shadow"] == "sleep · sleep"
    assert "job1" in message.headers["argsrepr"]
    assert message.payload[0] == ["sleep", "sleep", "sleep|", 3]


def test_the_urgent_are_taken_first(broker_url: str) -> None:
    hints = [Hint(f"j-{p}", "sleep", "sleep", "sleep", 1, priority=p) for p in (0, 9, 4)]
    Broker(broker_url).publish(hints)
    app = make_app(broker_url, ["sleep"], worker_id="w")
    with Connection(broker_url, transport_options=app.conf.broker_transport_options) as connection:
        queue = connection.SimpleQueue(app.amqp.queues["model.sleep"])
        order = [queue.get(timeout=5).headers["id"] for _ in hints]
    assert order == ["j-9", "j-4", "j-0"]


def test_messages_carry_no_parameters(broker_url: str) -> None:
    store = Store("sqlite:///" + str(Settings.load().home / "farm.db"))
    add_job(store, 1)
    dispatch(store, Broker(broker_url), 10)
    with redis.Redis.from_url(broker_url) as client:
        (raw,) = client.lrange(f"{PREFIX}model.sleep:9", 0, -1)
    assert set(json.loads(raw)) == {
        "body",
        "content-encoding",
        "content-type",
        "headers",
        "properties",
    }
    assert b"seconds" not in raw


def test_a_broker_that_is_down_is_named_without_its_password() -> None:
    with pytest.raises(Unreachable, match=r"redis://:\*\*\*@127.0.0.1:1/0 does not answer"):
        Broker("redis://:secret@127.0.0.1:1/0").ping()


def test_no_two_messages_bear_one_tag(broker_url: str) -> None:
    """A worker holds messages by their tags: one of the same tag would take another's place."""
    hints = [Hint(f"job1-{n}", "sleep", "sleep", "sleep", 1) for n in range(20)]
    for _ in range(2):
        Broker(broker_url).publish(hints)
    with redis.Redis.from_url(broker_url) as client:
        found = client.lrange(f"{PREFIX}model.sleep:9", 0, -1)
    assert len({json.loads(raw)["properties"]["delivery_tag"] for raw in found}) == 40


def test_a_window_is_filled_in_rounds_that_are_published_one_by_one(
    store: Store, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genfarm_shared.store.dispatching.ROUND", 4)
    monkeypatch.setattr("genfarm_shared.keeper.ROUND", 4)
    jobs = [add_job(store, 10), add_job(store, 10)]
    broker = Broker(broker_url)
    assert {hint.task_id[:-7] for hint in store.dispatch(20)} == {job.id for job in jobs}
    assert dispatch(store, broker, 15) == 11
    assert len(broker.task_ids()) == 11


def test_what_redis_refuses_to_take_is_pending_again(store: Store, broker_url: str) -> None:
    """And not queued without a message until somebody misses it."""
    job = add_job(store, 3)
    with redis.Redis.from_url(broker_url) as client:
        client.set(f"{PREFIX}model.sleep:9", "no list")
    with pytest.raises(Unreachable):
        dispatch(store, Broker(broker_url), 10)
    assert states(store, job) == {State.PENDING: 3}


@pytest.fixture
def keeper(store: Store, broker_url: str) -> Keeper:
    return Keeper(store, Broker(broker_url), Settings.load(broker=broker_url, lease_seconds=5))


def age_queued_rows(store: Store) -> None:
    store.write(lambda c: c.exec_driver_sql("UPDATE tasks SET queued_at = queued_at - 100"))


def test_all_messages_come_back_after_redis_lost_its_data(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    job = add_job(store, 50)
    keeper.tick(0.0)
    with redis.Redis.from_url(broker_url) as client:
        client.flushall()
    keeper.tick(0.5)  # the next round, of rows however new
    assert Broker(broker_url).task_ids() == set(ids(job, 50))
    assert states(store, job) == {State.QUEUED: 50}


def test_a_round_looks_after_chains_last_and_briefly(store: Store, broker_url: str) -> None:
    job, seen = add_job(store, 3), list[object]()

    def sweep(seconds: float) -> None:
        seen.append((states(store, job), seconds < 1.0))

    settings = Settings.load(broker=broker_url)
    Keeper(store, Broker(broker_url), settings, sweep=sweep).tick(0.0)
    assert seen == [({State.QUEUED: 3}, True)]


def test_a_restart_of_redis_is_noticed_by_whoever_comes_next(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    """Every worker was down meanwhile, and a part of the lists survived with the mark."""
    job = add_job(store, 3)
    keeper.tick(0.0)
    broker = Broker(broker_url)
    assert broker.epoch().marked_run_id == broker.epoch().run_id
    broker.mark(store.farm(), "another run")
    with redis.Redis.from_url(broker_url) as client:
        client.rpop(f"{PREFIX}model.sleep:9", 2)
    Keeper(store, broker, Settings.load(broker=broker_url)).tick(1.0)
    assert broker.task_ids() == set(ids(job, 3))
    assert broker.epoch().marked_run_id == broker.epoch().run_id


def test_what_was_too_new_to_be_missed_at_a_death_is_asked_for_again(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    """A frozen worker took the message from its list and wrote it down nowhere."""
    keeper.tick(0.0)
    job = add_job(store, 1)
    dispatch(store, Broker(broker_url), 10)
    with redis.Redis.from_url(broker_url) as client:
        client.delete(f"{PREFIX}model.sleep:9")
    add_worker(store, "frozen", process=ended_process())
    keeper.tick(0.5)
    assert Broker(broker_url).task_ids() == set()
    age_queued_rows(store)
    keeper.tick(2.5)
    assert Broker(broker_url).task_ids() == set(ids(job, 1))


def test_the_end_of_a_process_here_is_seen_at_once(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    add_worker(store, "living", process=name_process())
    add_worker(store, "elsewhere", process="another-boot/pid:[1] 1 1")
    add_worker(store, "gone", process=ended_process())
    keeper.tick(0.0)
    assert [worker.id for worker in store.list_workers()] == ["elsewhere", "living"]
    (gone,) = [worker for worker in store.list_workers(everyone=True) if worker.id == "gone"]
    assert gone.reason == "its process has ended"


def test_a_broker_that_another_farm_took_over_is_not_fought_for(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    keeper.tick(0.0)
    broker = Broker(broker_url)
    broker.take_over("theirs")
    keeper.tick(0.5)  # it was taken already
    broker.take_over("theirs", by_force=True)
    with pytest.raises(InvalidSetting, match="the farm theirs has taken over"):
        keeper.tick(1.0)


def test_a_server_that_keeps_its_state_to_itself_is_served_all_the_same(
    store: Store, broker_url: str
) -> None:
    job = add_job(store, 3)
    with redis.Redis.from_url(broker_url) as client:
        client.execute_command("ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+@all", "-info")
        quiet = Broker(broker_url.replace("redis://", "redis://quiet:pw@"))
        keeper = Keeper(store, quiet, Settings.load(broker=broker_url))
        keeper.tick(0.0)
        client.flushall()
        keeper.tick(0.5)
        client.execute_command("ACL", "DELUSER", "quiet")
    assert Broker(broker_url).task_ids() == set(ids(job, 3))


def test_a_message_that_is_there_is_not_sent_twice(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    add_job(store, 5)
    keeper.tick(0.0)
    age_queued_rows(store)
    keeper.tick(30.0)
    with redis.Redis.from_url(broker_url) as client:
        assert client.llen(f"{PREFIX}model.sleep:9") == 5


def test_a_dead_workers_messages_go_back_to_their_list(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    job = add_job(store, 2)
    add_worker(store, "dead")
    keeper.tick(0.0)
    with redis.Redis.from_url(broker_url) as client:  # as kombu does when it takes a message
        for tag in ("a", "b"):
            raw = client.rpop(f"{PREFIX}model.sleep:9")
            client.hset(
                f"{PREFIX}unacked.dead", tag, json.dumps([json.loads(raw), "", "model.sleep"])
            )
        for now in (2.0, 4.0, 6.0):
            keeper.tick(now)
        assert client.hlen(f"{PREFIX}unacked.dead") == 0
        assert client.llen(f"{PREFIX}model.sleep:9") == 2
    assert states(store, job) == {State.QUEUED: 2}


def test_a_keeper_judges_nobody_before_a_whole_healthy_lease(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    add_worker(store, "late")
    for now in (0.0, 2.0, 4.0, 4.9):
        keeper.tick(now)
    assert [worker.id for worker in store.list_workers()] == ["late"]
    keeper.tick(5.1)
    assert store.list_workers() == []


def test_a_keeper_that_was_held_up_judges_nobody_for_it(store: Store, keeper: Keeper) -> None:
    """What held it up, a lock on the database say, may have held up every beat as well."""
    add_worker(store, "late")
    keeper.tick(0.0)
    keeper.tick(20.0)
    assert [worker.id for worker in store.list_workers()] == ["late"]


def test_a_stalled_redis_spares_no_dead_worker(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    """Beats do not come through Redis, so a round that waited for it has missed none."""
    add_worker(store, "late")
    keeper.tick(0.0)
    with redis.Redis.from_url(broker_url) as client:
        client.execute_command("CLIENT", "PAUSE", 3000)
        keeper.tick(0.5)  # of a lease of 5 s, more than half is spent here
    keeper.tick(5.1)
    assert store.list_workers() == []


def test_a_task_that_was_begun_goes_before_those_that_were_not(
    store: Store, broker_url: str
) -> None:
    job = add_job(store, 3)
    add_worker(store)
    broker = Broker(broker_url)
    begun = ids(job, 3)[2:]
    claims = store.claim(begun, "w1")
    dispatch(store, broker, 10)
    store.release(claims, "drained")
    dispatch(store, broker, 10)
    with redis.Redis.from_url(broker_url) as client:
        first = client.lindex(f"{PREFIX}model.sleep:9", -1)  # the end that is taken from
    assert begun[0].encode() in first


def test_messages_in_a_hand_that_is_gone_come_back_sooner_or_later(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    """Its worker was judged long ago, by a keeper that died before it could restore them."""
    add_job(store, 1)
    keeper.tick(0.0)
    with redis.Redis.from_url(broker_url) as client:
        raw = client.rpop(f"{PREFIX}model.sleep:9")
        client.hset(f"{PREFIX}unacked.gone", "a", json.dumps([json.loads(raw), "", "model.sleep"]))
        keeper.tick(30.0)
        assert client.llen(f"{PREFIX}model.sleep:9") == 1
        assert Broker(broker_url).holders() == set()


def test_a_message_is_put_back_whole_or_not_at_all(broker_url: str) -> None:
    """Not when memory is short, nor where its list is none; what came meanwhile stays."""
    broker = Broker(broker_url)
    with redis.Redis.from_url(broker_url) as client:
        client.hset(f"{PREFIX}unacked.gone", "1.0", b'[{},"","model.sleep"]')
        client.hset(f"{PREFIX}unacked.gone", "1.1", b'[{},"","model.none"]')
        client.hset(f"{PREFIX}unacked.gone", "1.2", b"no entry")
        client.set(f"{PREFIX}model.none:9", "no list")
        client.config_set("maxmemory", "1")
        try:
            assert broker.restore("gone") == 1
        finally:
            client.config_set("maxmemory", "0")
        assert client.lrange(f"{PREFIX}model.sleep:9", 0, -1) == [b"{}"]
        assert client.hgetall(f"{PREFIX}unacked.gone") == {b"1.1": b'[{},"","model.none"]'}


def test_what_a_frozen_worker_takes_while_it_is_judged_is_kept(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, entry = Broker(broker_url), b'[{},"","model.sleep"]'
    with redis.Redis.from_url(broker_url) as client:
        client.hset(f"{PREFIX}unacked.frozen", "1.0", entry)
        read = broker._redis.hgetall

        def read_in_time(key: str) -> Any:
            found = read(key)
            client.hset(key, "2.0", entry)
            return found

        monkeypatch.setattr(broker._redis, "hgetall", read_in_time)
        assert broker.restore("frozen") == 1
        assert client.hgetall(f"{PREFIX}unacked.frozen") == {b"2.0": entry}
    assert broker.holders() == {"frozen"}


def test_no_key_that_somebody_planted_stops_a_keeper(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    job = add_job(store, 1)
    with redis.Redis.from_url(broker_url) as client:
        for name in (b"unacked.x", b"_kombu.binding.model.x", b"model.x"):
            client.set(PREFIX.encode() + name, "no hash")
        for name in (b"unacked.\xff", b"unacked.a b", b"unacked."):
            client.hset(PREFIX.encode() + name, "tag", "entry")
        client.sadd(PREFIX.encode() + b"_kombu.binding.model.\xff", b"\x06\x16")
    keeper.tick(0.0)
    age_queued_rows(store)
    keeper.tick(30.0)
    broker = Broker(broker_url)
    assert (broker.task_ids(), broker.holders()) == (set(ids(job, 1)), set())
    assert broker.foreigners() == [PREFIX + "_kombu.binding.model.\\xff"]


def test_two_keepers_at_once_publish_each_task_once(
    store: Store, broker_url: str, keeper: Keeper
) -> None:
    job = add_job(store, 30)
    other = Keeper(store, Broker(broker_url), Settings.load(broker=broker_url))
    keeper.tick(0.0)
    other.tick(0.0)
    with redis.Redis.from_url(broker_url) as client:
        assert client.llen(f"{PREFIX}model.sleep:9") == 30
    assert states(store, job) == {State.QUEUED: 30}
