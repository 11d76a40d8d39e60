"""A worker refuses to start under settings that would lose work, and the doctor names them."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery

from genfarm import doctor, local
from genfarm import worker as supervised
from genfarm.processes import Child, Command
from genfarm_shared import safety
from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.exits import REFUSED
from genfarm_shared.queue import PREFIX, Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_workers.catalog import read_catalog
from genfarm_workers.intake import Intake
from genfarm_workers.node import Node
from tests.shared.farmyard import add_worker
from tests.waiting import until

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/local xfs rw 0 0
//nas/share /mnt/two\\040words cifs rw 0 0
me@host:/ /mnt/remote fuse.sshfs rw 0 0
tmpfs /over tmpfs rw 0 0
hidden /over nfs rw 0 0
C: /mnt/c 9p rw 0 0
"""


@pytest.fixture
def settings(broker_url: str) -> Settings:
    return Settings.load(broker=broker_url, lease_seconds=1.0, beat_seconds=0.1)


@pytest.fixture
def full_server_drops(broker_url: str) -> Iterator[None]:
    with redis.Redis.from_url(broker_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def start(settings: Settings) -> None:
    """As a worker process does. Threads are started only after every check."""
    catalog = read_catalog()
    Node(settings, "me", catalog, Intake(catalog)).start("cpu0@here")


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/srv/farm.db", None),
        ("/home/me/farm.db", "nfs4"),
        ("/home/local/farm.db", None),
        ("/homely/farm.db", None),
        ("/mnt/two words/farm.db", "cifs"),
        ("/mnt/remote/a/b/farm.db", "fuse.sshfs"),
        ("/over/farm.db", "nfs"),
        ("/mnt/c/farm.db", "9p"),
    ],
)
def test_the_nearest_mount_tells_whether_a_file_is_on_the_network(
    file: str, kind: str | None
) -> None:
    assert safety.network_disk(Path(file), MOUNTS) == kind


def test_a_link_to_a_network_disk_is_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "away")
    table = f"/dev/sda1 / ext4 rw 0 0\nserver:/ {tmp_path / 'away'} nfs rw 0 0\n"
    assert safety.network_disk(tmp_path / "here" / "farm.db", table) == "nfs"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////srv/farm.db", "/srv/farm.db"),
        ("sqlite+pysqlite:////srv/farm.db?timeout=5", "/srv/farm.db"),
        ("sqlite:///file:/srv/farm.db?uri=true", "/srv/farm.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql+psycopg://me@host/srv", None),
    ],
)
def test_the_file_of_a_store_is_read_from_its_url(url: str, file: str | None) -> None:
    assert safety.sqlite_file(url) == (None if file is None else Path(file))


def test_a_store_on_a_network_disk_is_not_even_opened(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"server:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(safety, "MOUNTS", table)
    with pytest.raises(InvalidSetting, match=r"farm\.db is on a network file .*GENFARM_STORE"):
        start(settings)
    assert not (tmp_path / "home" / "farm.db").exists()
    assert [f.what for f in doctor.examine(settings) if f.level == doctor.FAIL] == []
    Store(settings.store_url).close()
    assert [f.what for f in doctor.examine(settings) if f.level == doctor.FAIL] == ["store"]


@pytest.mark.usefixtures("full_server_drops")
def test_a_worker_process_refuses_in_one_line_and_exits_as_misconfigured(
    settings: Settings,
) -> None:
    command = [sys.executable, "-m", "genfarm_workers", "--device", "cpu", "--models", "sleep"]
    done = subprocess.run(
        command, env=settings.environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == REFUSED == os.EX_CONFIG
    (line,) = [line for line in done.stderr.splitlines() if "CRITICAL" in line]
    for said in ("does not start", "allkeys-lru", "expected noeviction", "CONFIG SET"):
        assert said in line
    assert "Traceback" not in done.stdout + done.stderr
    found = {f.what: f for f in doctor.examine(settings)}
    assert found["eviction"].level == doctor.FAIL
    assert "noeviction" in found["eviction"].fix


def test_a_worker_without_a_broker_is_misconfigured_too() -> None:
    command = [sys.executable, "-m", "celery", "-A", "genfarm_workers.app", "worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == REFUSED
    assert done.stderr.startswith("error: GENFARM_BROKER is not set")
    assert len(done.stderr.splitlines()) == 1


def test_a_foreign_celery_app_on_the_farms_keys_is_named(
    settings: Settings, broker_url: str
) -> None:
    foreign = Celery("foreign", broker=broker_url, set_as_current=False)
    foreign.conf.broker_transport_options = {"global_keyprefix": PREFIX}
    with foreign.connection_for_read() as connection:
        queue = foreign.amqp.queues["celery"]
        connection.SimpleQueue(queue).close()
    with pytest.raises(InvalidSetting, match=r"another Celery app .*_kombu\.binding\.celery"):
        start(settings)
    found = {f.what: f for f in doctor.examine(settings)}
    assert "global_keyprefix" in found["foreign app"].fix


def test_a_foreign_hand_in_the_farms_queue_is_named(settings: Settings, broker_url: str) -> None:
    """It takes tasks' messages, and holds them where every stock worker sweeps."""
    foreign = Celery("foreign", broker=broker_url, set_as_current=False)
    foreign.conf.broker_transport_options = {"global_keyprefix": PREFIX}
    foreign.conf.task_default_queue = "model.sleep"
    broker = Broker(broker_url)
    foreign.send_task("theirs")
    with foreign.connection_for_read() as connection:
        queue = connection.SimpleQueue(foreign.amqp.queues["model.sleep"])
        assert broker.foreigners() == [f"{PREFIX}_kombu.binding.model.sleep"]
        queue.get(timeout=5)
        assert f"{PREFIX}unacked" in broker.foreigners()
        with pytest.raises(InvalidSetting, match="foreign app"):
            start(settings)
    broker.close()


@contextmanager
def beating(store: Store, worker_id: str) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            store.beat(worker_id, {})

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_sqlite_shared_with_a_live_worker_of_another_host_is_refused(settings: Settings) -> None:
    store = Store(settings.store_url)
    add_worker(store, "away")
    store.write(lambda c: c.exec_driver_sql("UPDATE workers SET host = 'elsewhere'"))
    assert list(safety.host_dangers(store, settings)) == []  # it was killed: its beat stands still
    with beating(store, "away"):
        with pytest.raises(InvalidSetting, match=r"host elsewhere uses the SQLite .*postgresql"):
            start(settings)
        levels = {f.what: f.level for f in doctor.examine(settings) if f.level == doctor.FAIL}
        assert levels == {"store": doctor.FAIL}
    store.close()


def test_a_user_that_may_not_ask_is_warned_and_not_refused(
    settings: Settings, broker_url: str
) -> None:
    with redis.Redis.from_url(broker_url) as client:
        rules = {"keys": ["genfarm:*"], "commands": ["+@all", "-info"]}
        client.acl_setuser("blind", enabled=True, passwords=["+x"], **rules)
        broker = Broker(broker_url.replace("://", "://blind:x@"))
        (danger,) = safety.refuse(safety.broker_dangers(broker))
        assert "may not ask for its eviction" in danger.found
        assert "users.acl" in danger.fix
        broker.close()
        client.acl_deluser("blind")


@pytest.mark.usefixtures("full_server_drops")
def test_an_embedded_farm_says_why_its_worker_refuses(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", broker_url)
    monkeypatch.setenv("GENFARM_MODELS", "sleep")
    with pytest.raises(Unreachable, match="expected noeviction"):
        local.start(home=tmp_path / "home", workers=1, flower=False)


def test_a_supervisor_does_not_start_a_refusing_worker_again_and_again(tmp_path: Path) -> None:
    program = f"print('set another'); raise SystemExit({REFUSED})"
    argv = [sys.executable, "-c", program]
    child = Child(Command("gpu0", argv, dict(os.environ), tmp_path / "log"))
    child.spawn(0.0)
    until(child.has_refused)
    with pytest.raises(InvalidSetting, match="gpu0 refuses to start: set another"):
        supervised._keep([child], 0.0)


def test_a_broker_that_serves_another_farm_is_refused(settings: Settings, broker_url: str) -> None:
    broker = Broker(broker_url)
    assert list(safety.broker_dangers(broker, "ours")) == []
    broker.take_over("theirs", by_force=True)
    with pytest.raises(InvalidSetting, match=r"serves another farm \(theirs\) than the store"):
        start(settings)


def test_a_worker_of_another_version_is_named(settings: Settings) -> None:
    store = Store(settings.store_url)
    add_worker(store, "old")
    store.close()
    found = {f.what: f for f in doctor.examine(settings)}
    assert "old@test runs 0;" in found["versions"].found
