"""Starts one engine process and ends it. Knows nothing of what it does."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.pipe import Pipe

#: Seconds that an engine gets to end by itself at the end of its pipe.
PATIENCE = 2.0
#: Seconds that a killed process gets to be gone. One that waits for a sick driver may stay: it
#: is left behind, and a probe says whether its device can be used.
BURIAL = 10.0


@dataclass(frozen=True, slots=True)
class Pin:
    """Where an engine process runs."""

    #: `cpu` or `cuda`, as torch names it inside the process.
    device: str
    #: Variables it starts with, such as CUDA_VISIBLE_DEVICES.
    environment: Mapping[str, str]
    threads: int = 0

    def variables(self) -> dict[str, str]:
        """The whole environment of a process on that device."""
        return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **self.environment}


class Spawned:
    """One engine process and this end of its pipe."""

    def __init__(self, process: subprocess.Popen[bytes], ours: socket.socket) -> None:
        self._process = process
        self._socket = ours
        self.pid = process.pid
        self.pipe = Pipe(Connection(os.dup(ours.fileno())))

    def is_gone(self) -> bool:
        """Whether it has ended. A child of its own may keep its pipe open beyond that."""
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Close the pipe, wait for the process to end, then make it; returns its exit code."""
        with contextlib.suppress(OSError):  # the other end is gone already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a sender that is blocked
        self._socket.close()
        code = _end(self._process)
        self.pipe.close()
        return code


def spawn(
    pin: Pin,
    catalog: Mapping[str, ModelEntry],
    ceilings: Mapping[str, Mapping[str, int]],
    memory: int = 0,
) -> Spawned:
    """An engine process for that catalog; it says `ready` through its pipe."""
    ours, theirs = socket.socketpair()
    # What was not said stays unsaid, for slots that are left out are measured.
    entries = {key: e.model_dump(mode="json", exclude_unset=True) for key, e in catalog.items()}
    command = [sys.executable, "-m", "genfarm_workers.loop", "--fd", str(theirs.fileno())]
    command += ["--device", pin.device, "--threads", str(pin.threads)]
    command += ["--catalog", json.dumps(entries), "--ceilings", json.dumps(ceilings)]
    command += ["--memory", str(memory)]
    with theirs:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=pin.variables(),
        )
    return Spawned(process, ours)


def spell(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exited with code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _end(process: subprocess.Popen[bytes]) -> int:
    for patience in (PATIENCE, BURIAL):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.kill()
    return -signal.SIGKILL
