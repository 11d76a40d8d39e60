"""A whole farm under the users of deploy/redis, over TLS; and what each user is refused."""

import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from genfarm import Farm
from genfarm.flower import USER, flower_command, flower_environment, flower_password, is_healthy
from genfarm.redis_server import free_port
from genfarm_shared.errors import Unreachable
from genfarm_shared.live import Live
from genfarm_shared.queue import PREFIX, Broker, list_key, make_app
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import Hint
from tests.faults.guarded import Guarded, guarded_server
from tests.waiting import until
from tests.yard import Yard


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("guarded")) as found:
        yield found


@pytest.fixture
def yard(server: Guarded, tmp_path: Path) -> Iterator[Yard]:
    """Its broker is the producer's; its workers are told to be workers."""
    url = server.url("worker", tls=True)
    settings = Settings.load(broker=url, beat_seconds=0.25, tick_seconds=0.1, drain_timeout=1.0)
    yard = Yard(settings, tmp_path)
    yield yard
    yard.close()


@pytest.fixture
def flower_url(server: Guarded, yard: Yard, tmp_path: Path) -> Iterator[str]:
    """Flower as the user of its own, over TLS."""
    port = free_port()
    settings = Settings.load(broker=server.url("flower", tls=True), models="sleep")
    with (tmp_path / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            flower_command(port),
            env=flower_environment(settings.environment(), settings.home),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: is_healthy(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def ask(url: str, path: str) -> str:
    token = b64encode(f"{USER}:{flower_password(Settings.load().home)}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310
        url + path, headers={"Authorization": f"Basic {token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return str(answer.read(), "utf-8")


def denied(server: Guarded) -> list[str]:
    with redis.Redis.from_url(server.url("admin"), decode_responses=True) as client:
        return [f"{e['username']} {e['context']} {e['object']}" for e in client.acl_log()]


def test_a_farm_works_over_tls_with_the_documented_users(
    server: Guarded, yard: Yard, flower_url: str
) -> None:
    with redis.Redis.from_url(server.url("admin")) as client:
        client.acl_log_reset()
        client.hset(f"{PREFIX}unacked.gone", "tag", "a dead worker's message")
    worker = yard.start_worker("sleep", reconcile_seconds=0.2)
    settings = Settings.load()
    with Farm(store=settings.store_url, broker=server.url("producer", tls=True)) as farm:
        job = farm.submit_many("sleep", [0.1] * 30)
        item = farm.submit("sleep", 600.0)
        assert next(item.watch(timeout=30)).total == 6000
        item.cancel()
        job.wait(timeout=30).raise_for_errors()
    celery = make_app(server.url("worker", tls=True))
    pong = celery.control.inspect(destination=[worker.node], timeout=20).ping()
    assert pong == {worker.node: {"ok": "pong"}}
    # Flower has inspected the worker, and has got its answer.
    until(lambda: "active_queues" in ask(flower_url, "/api/workers?refresh=1"))
    until(lambda: job.id in ask(flower_url, "/api/tasks"))
    until(lambda: yard.broker.holders() == set())  # the keeper's whole round is allowed
    assert "model.sleep" in ask(flower_url, "/api/queues/length")
    assert denied(server) == []


FORBIDDEN = {
    "producer": [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN"),
        *("LRANGE genfarm:model.sleep 0 -1", "LLEN genfarm:model.sleep", "SCAN 0"),
        *("LPUSH elsewhere x", "HGETALL genfarm:unacked.w", "DEL genfarm:model.sleep"),
        *("PUBLISH genfarm:/0.celery.pidbox x", "SUBSCRIBE genfarm:/0.celeryev/x"),
        *("PUBLISH genfarm:live.job-0 x", "PSUBSCRIBE genfarm:live.*", "PUBSUB CHANNELS"),
        "EVAL 'return 1' 0",
    ],
    "worker": [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN", "CLIENT LIST"),
        *("GET elsewhere", "SET elsewhere x", "PUBLISH elsewhere x", "PSUBSCRIBE *"),
        *("FUNCTION LIST", "SCRIPT FLUSH", "MONITOR", "REPLICAOF host 1", "PUBSUB CHANNELS"),
    ],
    "flower": [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN", "MONITOR"),
        *("LPUSH genfarm:model.sleep x", "RPOP genfarm:model.sleep", "DEL genfarm:model.sleep"),
        *("HGETALL genfarm:unacked.w", "GET elsewhere", "PUBLISH elsewhere x"),
        *("SUBSCRIBE genfarm:live.job-0", "PUBLISH genfarm:live.job-0 x"),
    ],
}


@pytest.mark.parametrize("user", FORBIDDEN)
def test_a_user_is_refused_what_is_not_its_business(server: Guarded, user: str) -> None:
    with redis.Redis.from_url(server.url(user)) as client:
        assert client.ping()
        for command in FORBIDDEN[user]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.replace("'return 1'", "return").split())


def test_a_file_of_users_that_knows_no_watching_is_an_outage_of_watching_alone(
    server: Guarded,
) -> None:
    """Whoever watches then waits for the result, and the worker goes on."""
    with pytest.raises(Unreachable, match="nothing can be watched"):
        Live(server.url("flower")).listen("job-0").hear(5.0)
    with pytest.raises(Unreachable, match="nothing can be watched"):
        Live(server.url("producer")).watched(["job-0"])


def test_a_producer_publishes_new_tasks_and_such_as_run_again(server: Guarded) -> None:
    hints = [Hint("job-0", "sleep", "idle", "idle", 1, is_redo=again) for again in (False, True)]
    Broker(server.url("producer")).publish(hints)
    with redis.Redis.from_url(server.url("admin")) as client:
        assert client.llen(list_key("idle", 0)) == 2
        client.flushall()


def test_nobody_gets_in_without_a_name_and_its_password(server: Guarded) -> None:
    for url in (
        f"redis://127.0.0.1:{server.port}/0",
        server.url("worker").replace(":worker@", ":producer@"),
    ):
        with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_server_that_nobody_vouches_for_is_refused(server: Guarded) -> None:
    """By our own client and by Celery's, which left alone would take any certificate."""
    url = server.url("worker", tls=True).partition("?")[0]
    with pytest.raises(Unreachable, match="certificate verify failed"):
        Broker(url).ping()
    with (
        make_app(url).connection_for_read() as connection,
        pytest.raises(redis.ConnectionError, match="certificate verify failed"),
    ):
        connection.connect()
