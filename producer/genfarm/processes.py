"""A child process that outlives its own crashes but not its parent.

Each child leads a group of its own, so that Ctrl-C in a terminal reaches the
supervisor alone, and a child's own children can be ended with it. Knows
nothing of what the children do.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from genfarm_shared.exits import REFUSED

#: `PR_SET_PDEATHSIG` of linux/prctl.h.
SET_PARENT_DEATH_SIGNAL = 1
#: Seconds before a dead child's first restart; doubled each time up to LONGEST_PAUSE.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
#: A child that lived so long, in seconds, starts again with the first pause.
HEALTHY_AFTER = 30.0
#: Seconds between two looks at children that should end.
LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and where its words go."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    #: Receives stdout and stderr, appended.
    log: Path


class Child:
    """One command kept running. Every method is the main thread's: a Linux child is
    told of the death of the thread that made it."""

    def __init__(self, command: Command) -> None:
        self.command = command
        #: Starts that ended in a row before HEALTHY_AFTER.
        self.failures = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._next_start = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def spawn(self, now: float) -> None:
        """Run the command. `now` is `time.monotonic()`, here and below."""
        with self.command.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command.argv),
                env=dict(self.command.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # The supervisor has one thread, which is what makes this safe.
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )
        self._started = now

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def revive(self, now: float) -> bool:
        """Start the command when it has died and its pause is over; returns whether it did."""
        if self.is_running():
            return False
        if self._process is not None:
            self._bury(now)
        if now < self._next_start:
            return False
        self.spawn(now)
        return True

    def terminate(self) -> None:
        """Ask the process to end, which may finish what it has in hand."""
        if self._process is not None and self.is_running():
            self._process.terminate()

    def kill(self) -> None:
        """End the process and everything in its group."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._process.wait()

    def has_refused(self) -> bool:
        """Whether its process ended because of its settings, so that a restart changes nothing."""
        return self._process is not None and self._process.poll() == REFUSED

    def last_words(self, lines: int = 5) -> str:
        """The end of the log, for a message about a child that will not start."""
        try:
            words = self.command.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(words[-lines:])

    def _bury(self, now: float) -> None:
        """Note a death: what is left of its group goes too, and its pause begins."""
        self.kill()
        self._process = None
        if now - self._started > HEALTHY_AFTER:
            self.failures = 0
        self._next_start = now + min(FIRST_PAUSE * 2**self.failures, LONGEST_PAUSE)
        self.failures += 1


def end(children: Iterable[Child], within: float) -> None:
    """Terminate those children together, and kill what has not ended `within` seconds."""
    asked = list(children)
    for child in asked:
        child.terminate()
    deadline = time.monotonic() + within
    while any(child.is_running() for child in asked) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
    for child in asked:
        child.kill()


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program, so that it dies with the supervisor.

    macOS has no such signal; there the next start in the home ends what was left.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), _libc().prctl

    def bind() -> None:
        prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
