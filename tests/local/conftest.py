"""Embedded farms in folders of their own, and the end of every process they had."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from genfarm import local
from tests.processes import lives

#: Seconds for anything that should happen; a loaded box takes a few.
SOON = 60.0


def until(is_so: Callable[[], object], what: str) -> None:
    """Look until it is so; fail with `what` after SOON."""
    deadline = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < deadline, f"not within {SOON:g} s: {what}"
        time.sleep(0.02)


def family(farm: local.RunningFarm) -> list[psutil.Process]:
    """The supervisor and everything below it."""
    supervisor = psutil.Process(farm.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run."""
    return [process for process in processes if lives(process)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder whose farm, if it got one, is ended after the test."""
    place = tmp_path / "home"
    yield place
    local.stop(place)
