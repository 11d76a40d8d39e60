"""The embedded farm's life: up, attached to, killed in every part, and gone without a trace."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from genfarm import local
from genfarm.flower import flower_password, states_seen
from genfarm.runfile import owner
from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store

from .conftest import alive, family, until

#: Starts a farm, says where it is, and holds it until it is killed.
HOLD = """
import json, sys, time
from genfarm import local
farm = local.start(home=sys.argv[1], workers=int(sys.argv[2]), flower=False, detach=%s)
print(json.dumps({"pid": farm.pid}), flush=True)
%s
"""


def hold(home: Path, workers: int, *, detach: bool = False) -> "subprocess.Popen[str]":
    script = HOLD % (detach, "" if detach else "time.sleep(600)")
    argv = [sys.executable, "-P", "-c", script, str(home), str(workers)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def heard(process: "subprocess.Popen[str]") -> int:
    """The supervisor's pid, once the farm is up."""
    assert process.stdout is not None
    with process.stdout as pipe:
        return int(json.loads(pipe.readline())["pid"])


def test_starting_and_stopping_leaves_no_process(home: Path) -> None:
    farm = local.start(home=home, workers=1)
    assert farm.flower_url is not None
    processes = family(farm)
    assert {farm.workers[0].pid, *farm.servers.values()} < {p.pid for p in processes}
    # Flower answers to its password and to nothing else.
    assert states_seen(farm.flower_url, flower_password(home), ("job",), 10) == {}
    with pytest.raises(Unreachable, match="401"):
        states_seen(farm.flower_url, "wrong", ("job",), 10)
    assert local.stop(home)
    assert alive(processes) == []
    assert local.running(home) is None


def test_two_threads_that_start_share_one_farm(home: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        starts = [threads.submit(local.start, home=home, workers=0, flower=False) for _ in range(2)]
        first, second = (start.result() for start in starts)
    assert first == second
    now = local.running(home)
    assert now is not None
    assert now.pid == first.pid
    first.stop()
    assert not psutil.pid_exists(first.pid)


def test_two_starts_at_once_make_one_farm(home: Path) -> None:
    starters = [hold(home, 0) for _ in range(2)]
    pids = {heard(starter) for starter in starters}
    for starter in starters:
        starter.kill()
        starter.wait()
    assert len(pids) == 1
    until(lambda: not psutil.pid_exists(pids.copy().pop()), "the supervisor ends")


def test_a_killed_parent_leaves_no_process(home: Path) -> None:
    parent = hold(home, 1)
    heard(parent)
    farm = local.running(home)
    assert farm is not None
    processes = family(farm)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: alive(processes) == [], "every process of the farm ends")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_a_killed_supervisor_leaves_no_process_and_a_usable_home(home: Path) -> None:
    farm = local.start(home=home, workers=1, flower=False)
    processes = family(farm)
    os.kill(farm.pid, signal.SIGKILL)
    until(lambda: alive(processes) == [], "every process of the farm ends")
    assert local.running(home) is None
    local.stop(home)
    assert local.start(home=home, workers=0, flower=False).pid != farm.pid


def test_a_detached_farm_outlives_its_starter(home: Path) -> None:
    starter = hold(home, 0, detach=True)
    pid = heard(starter)
    assert starter.wait() == 0
    farm = local.running(home)
    assert farm is not None
    assert farm.pid == pid
    Broker(farm.broker).ping()
    assert local.stop(home)
    assert not psutil.pid_exists(pid)


def test_a_broker_that_does_not_answer_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", "redis://:secret@127.0.0.1:1/0")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as caught:
        local.start(home=home, workers=0, flower=False)
    said = str(caught.value)
    assert "secret" not in said
    assert "unset GENFARM_BROKER" in said
    assert "genfarm up" not in said
    assert ".." not in said


def test_a_home_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match=r"file/home cannot be used: .*GENFARM_HOME") as caught:
        local.start(home=tmp_path / "file" / "home", workers=0, flower=False)
    assert "Traceback" not in str(caught.value)


def test_a_farm_on_its_way_up_can_be_stopped(home: Path) -> None:
    starter = hold(home, 1)
    until(lambda: owner(home), "the supervisor holds the home")
    assert local.stop(home)
    assert owner(home) is None
    assert local.running(home) is None
    starter.communicate()
    assert starter.returncode != 0
    assert not local.stop(home)


def test_a_start_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "START_SECONDS", 0.0)
    reader, writer = os.pipe()
    silent: Any = SimpleNamespace(stdout=os.fdopen(reader, "rb", buffering=0))
    assert "was not up within 0 s" in local._hear(silent)["message"]
    os.close(writer)


def test_a_worker_that_cannot_start_is_reported_with_its_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_MODELS", "no-such-model")
    with pytest.raises(Unreachable, match="no-such-model"):
        local.start(home=home, workers=1, flower=False)
    assert local.running(home) is None


def test_a_negative_number_of_workers_is_refused(home: Path) -> None:
    with pytest.raises(InvalidSetting, match="workers=-1"):
        local.start(home=home, workers=-1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.StartedFarm]:
    """A farm of one worker that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GENFARM_HOME", raising=False)
        farm = local.start(home=tmp_path_factory.mktemp("shared"), workers=1, flower=False)
    assert farm.is_ours
    yield farm
    farm.stop()
    assert local.running(farm.home) is None


def test_a_second_start_attaches_to_the_first_and_does_not_own_it(
    shared: local.StartedFarm,
) -> None:
    second = local.start(home=shared.home, workers=2)
    assert second == shared
    other = hold(shared.home, 0)
    assert heard(other) == shared.pid
    other.kill()
    other.wait()
    assert local.running(shared.home) is not None


def test_the_broker_needs_its_password_and_nobody_can_read_it(shared: local.StartedFarm) -> None:
    password, _, place = shared.broker.removeprefix("redis://:").partition("@")
    with pytest.raises(Unreachable, match="authenticate"):
        Broker(f"redis://{place}").ping()
    assert password not in repr(shared)
    for process in family(shared):
        assert password not in " ".join(process.cmdline())
    for name in ("farm.json", "redis/server.conf"):
        assert stat.S_IMODE((shared.home / name).stat().st_mode) == 0o600


def test_killed_parts_are_restarted_and_the_file_says_so(shared: local.StartedFarm) -> None:
    worker, server = shared.workers[0].pid, shared.servers["redis"]
    store = Store(shared.store)
    os.kill(worker, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)

    def is_whole_again() -> bool:
        now = local.running(shared.home)
        assert now is not None
        new = {now.workers[0].pid, now.servers["redis"]}
        beats = {w.pid for w in store.list_workers()}
        return not new & {worker, server} and now.workers[0].pid in beats

    until(is_whole_again, "worker and server run again")
    store.close()
    broker = Broker(shared.broker)  # the same address and password as before
    broker.ping()
    assert broker.eviction_policy() == "noeviction"
    broker.close()
