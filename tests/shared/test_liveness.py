"""A process that has ended is known by its name, and no other is taken for it."""

import subprocess
import sys

import pytest

from genfarm_shared.liveness import is_gone, name_process

from .farmyard import ended_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are named on Linux only")


def test_a_living_process_is_not_gone() -> None:
    assert not is_gone(name_process())


def test_a_process_that_ended_is_gone() -> None:
    assert is_gone(ended_process())


def test_a_reused_pid_is_not_taken_for_the_process() -> None:
    machine, pid, started = name_process().split(" ")
    assert is_gone(f"{machine} {pid} {int(started) - 1}")


def test_a_zombie_is_gone_though_its_parent_has_not_asked() -> None:
    code = "from genfarm_shared.liveness import name_process; print(name_process(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.read().strip()  # to its end: the process has no more to say
        while not is_gone(name):
            assert child.returncode is None


@pytest.mark.parametrize("name", ["", "another-boot/pid:[1] 1 1"])
def test_of_another_machine_nothing_is_said(name: str) -> None:
    assert not is_gone(name)
