"""The embedded farm: a real server, real workers and Flower on this computer.

`start` brings one up in a home or attaches to the one that is there. The farm
ends with the process that started it, unless it was detached. Knows no task.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from genfarm.devices import Count
from genfarm.runfile import RunningFarm, RunningWorker, owner, running
from genfarm_shared import errors
from genfarm_shared.settings import Settings

__all__ = ["RunningFarm", "RunningWorker", "StartedFarm", "running", "start", "stop"]

#: Seconds a farm may take from nothing to all its parts answering.
START_SECONDS = 180.0
#: Seconds from SIGTERM to the supervisor's own end; it kills its children long before.
STOP_SECONDS = 30.0

#: Supervisors that this process started, by home. A held pipe is what keeps an
#: undetached one alive.
_held: dict[Path, subprocess.Popen[bytes]] = {}
#: One start at a time: a second must find the first's farm, not replace its pipe.
_starting = threading.Lock()


@dataclass(frozen=True, slots=True)
class StartedFarm(RunningFarm):
    """A farm as `start` gives it back."""

    @property
    def is_ours(self) -> bool:
        """Whether it ends with this process: it was not there before, and is not detached."""
        process = _held.get(self.home)
        return process is not None and process.stdin is not None

    def stop(self) -> None:
        """End it if it is ours; else leave it up."""
        if self.is_ours:
            stop(self.home)


def start(
    *,
    workers: Count = "auto",
    home: str | Path | None = None,
    flower: bool = True,
    detach: bool = False,
) -> StartedFarm:
    """Bring a farm up in `home`, or attach to the one that is up there.

    Returns when every part answers. Raises MissingExtra, or Unreachable with the
    end of the log of the part that would not start.
    """
    if workers != "auto" and workers < 0:
        raise errors.InvalidSetting(f"workers={workers}: expected 'auto' or a number from 0")
    settings = Settings.load(home=home)
    with _starting:
        found = running(settings.home)
        if found:
            return _started(found)
        process = _spawn(settings, workers, flower=flower, detach=detach)
        _held[settings.home] = process
        try:
            return _attach(settings.home, _hear(process))
        except BaseException:  # Ctrl-C above all: a start that is given up leaves nothing
            _forget(settings.home)
            raise


def stop(home: str | Path) -> bool:
    """End the farm in that home, one on its way up too; returns whether there was one.

    No process is left.
    """
    place = _absolute(home)
    pid = owner(place)
    if pid is not None:
        try:
            process = psutil.Process(pid)
            os.kill(pid, signal.SIGTERM)
            if place not in _held:
                process.wait(STOP_SECONDS)
        except (psutil.NoSuchProcess, ProcessLookupError):
            pass  # it has ended by itself in the meantime
        except psutil.TimeoutExpired:
            process.kill()
    _forget(place)
    return pid is not None


def _spawn(
    settings: Settings, workers: Count, *, flower: bool, detach: bool
) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-m", "genfarm.supervisor", "--workers", str(workers)]
    argv += ["--no-flower"] * (not flower) + ["--detached"] * detach
    return subprocess.Popen(
        argv,
        env=settings.environment(),
        stdin=subprocess.DEVNULL if detach else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Away from the terminal: Ctrl-C is for whoever started the farm to answer.
        start_new_session=True,
    )


def _hear(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The supervisor's one line; what it said instead when it is no JSON."""
    assert process.stdout is not None  # noqa: S101  # asked for in _spawn
    heard = b""
    deadline = time.monotonic() + START_SECONDS
    with process.stdout as pipe:
        while time.monotonic() < deadline:
            readable, _, _ = select.select([pipe], [], [], 1.0)
            piece = os.read(pipe.fileno(), 65_536) if readable else b""
            heard += piece
            for line in heard.splitlines():
                if line.startswith(b"{") and line.endswith(b"}"):
                    word: dict[str, str] = json.loads(line)
                    return word
            if readable and not piece:
                return {"error": "Unreachable", "message": heard.decode(errors="replace").strip()}
    late = f"the embedded farm was not up within {START_SECONDS:g} s, and its start was given up"
    return {"error": "Unreachable", "message": f"{late}; its logs are in the home's folder logs"}


def _attach(home: Path, word: dict[str, str]) -> StartedFarm:
    farm = running(home)
    if "error" in word or farm is None:
        raise _error(word)
    if word["ready"] == "another":
        _forget(home)
    return _started(farm)


def _started(farm: RunningFarm) -> StartedFarm:
    return StartedFarm(**{field.name: getattr(farm, field.name) for field in fields(farm)})


def _error(word: dict[str, str]) -> errors.GenfarmError:
    kind = getattr(errors, word.get("error", ""), errors.Unreachable)
    said = word.get("message") or "the supervisor of the embedded farm ended without a word"
    error = kind(said)
    return error if isinstance(error, errors.GenfarmError) else errors.Unreachable(said)


def _forget(home: Path) -> None:
    """Ask a supervisor that this process started to end, and wait until it has."""
    process = _held.pop(home, None)
    if process is None:
        return
    process.terminate()
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _absolute(home: str | Path) -> Path:
    return Path(home).expanduser().absolute()
