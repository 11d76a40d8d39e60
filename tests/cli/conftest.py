"""The command line as a person meets it: a command, its exit code, its two streams."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from genfarm import local
from genfarm.cli import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left behind."""

    code: int
    #: Data.
    out: str
    #: Words for people.
    err: str


Genfarm = Callable[..., Said]


@pytest.fixture
def genfarm(capfd: pytest.CaptureFixture[str]) -> Genfarm:
    """Run a command in this process."""

    def command(*args: object) -> Said:
        code = main([str(arg) for arg in args])
        return Said(code, *capfd.readouterr())

    return command


@pytest.fixture(scope="package")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.RunningFarm]:
    """A farm of one worker without Flower, for every test of the package."""
    started = local.start(home=tmp_path_factory.mktemp("farm"), workers=1, flower=False)
    yield started
    started.stop()


@pytest.fixture
def at_farm(farm: local.RunningFarm, monkeypatch: pytest.MonkeyPatch) -> local.RunningFarm:
    """The same, named by the environment."""
    monkeypatch.setenv("GENFARM_HOME", str(farm.home))
    return farm


@pytest.fixture
def slow_job(at_farm: local.RunningFarm) -> Iterator[Any]:
    """A job that goes on until it is cancelled, which it is after the test."""
    from genfarm import Farm

    with Farm(progress=False) as client:
        job = client.submit_many("sleep", [600.0], on_conflict="new")
        yield job
        job.cancel()
