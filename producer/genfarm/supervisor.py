"""The process that owns an embedded farm; its parts are its children.

    python -m genfarm.supervisor --workers auto [--no-flower] [--detached]

Settings come through the environment. It says one JSON line on stdout when the
farm is ready or cannot be, and lives until SIGTERM, or until the parent that
holds its stdin is gone. One home has one supervisor, held by `<home>/farm.lock`.
"""

import argparse
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genfarm.devices import Count
from genfarm.parts import LOOK_EVERY, READY_SECONDS, Parts, ShouldStop, StartStoppedError
from genfarm.runfile import LOCK, left_behind, running, withdraw
from genfarm_shared.errors import GenfarmError
from genfarm_shared.settings import PRIVATE, Settings


def main() -> None:
    """Run one embedded farm until it is told to stop."""
    parser = argparse.ArgumentParser(prog="genfarm.supervisor")
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--no-flower", action="store_true")
    parser.add_argument("--detached", action="store_true")
    given = parser.parse_args()
    count: Count = "auto" if given.workers == "auto" else int(given.workers)
    should_stop = _listen(detached=given.detached)
    settings = Settings.load()
    try:
        with _sole_owner(settings.home, should_stop) as is_ours:
            if is_ours:
                _sweep(settings.home)
                _keep_up(Parts(settings, should_stop), settings.home, count, not given.no_flower)
            else:
                _say({"ready": "another"})
    except OSError as error:
        said = f"the home {settings.home} cannot be used: {error}. Choose another: --home, "
        _say({"error": "InvalidSetting", "message": f"{said}GENFARM_HOME or home= in Python"})


def _keep_up(parts: Parts, home: Path, count: Count, with_flower: bool) -> None:
    try:
        farm = parts.boot(count, with_flower=with_flower)
        _say({"ready": "ours"})
        _let_go_of_pipe(home)
        parts.watch(farm)
    except StartStoppedError:
        _say({"error": "Unreachable", "message": "the farm was stopped before it was up"})
    except GenfarmError as error:
        _say({"error": type(error).__name__, "message": str(error)})
    finally:
        parts.close()


def _listen(*, detached: bool) -> ShouldStop:
    """A question: has SIGTERM come, or has the parent that holds our stdin gone?"""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    parent = os.getppid()

    def should_stop(seconds: float) -> bool:
        if detached:
            time.sleep(seconds)
            return bool(asked)
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        # A forked relative may hold the pipe open after the parent's death: ask for it too.
        return bool(asked) or bool(readable) or os.getppid() != parent

    return should_stop


@contextmanager
def _sole_owner(home: Path, should_stop: ShouldStop) -> Iterator[bool]:
    """Hold the home's lock; False when another supervisor holds it."""
    home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    deadline = time.monotonic() + READY_SECONDS
    # Not emptied by opening it: another's pid may stand there.
    with (home / LOCK).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # The other may be on its way up, or on its way down: then the home is ours.
                if running(home) or time.monotonic() > deadline or should_stop(LOOK_EVERY):
                    yield False
                    return
            else:
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                yield True
                return


def _sweep(home: Path) -> None:
    """End what a killed supervisor left, where the system did not (macOS)."""
    for pid in left_behind(home):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    withdraw(home)


def _say(word: dict[str, str]) -> None:
    with suppress(BrokenPipeError):  # the starter is gone; the farm will follow it
        sys.stdout.write(json.dumps(word) + "\n")
        sys.stdout.flush()


def _let_go_of_pipe(home: Path) -> None:
    """From here on our words go to a log, so that the starter's reader sees an end."""
    with (home / "logs" / "supervisor.log").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())


if __name__ == "__main__":
    main()
