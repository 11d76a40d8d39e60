"""Runs one benchmark program and reads its report. Knows nothing of what it measures."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

from genfarm.benchmark.table import Program
from genfarm.processes import die_with_parent
from genfarm_shared.errors import MissingExtra
from genfarm_shared.measure import Report
from genfarm_shared.settings import Settings

#: Seconds that an interrupted program gets to end the processes that it started.
ENDING_SECONDS = 20.0
#: Lines of its stderr that are shown when it dies.
LAST_WORDS = 8


class BenchmarkDied(Exception):
    """A benchmark program ended without a report."""


def launch(program: Program, *, rounds: int, is_quick: bool, tell: Callable[[str], None]) -> Report:
    """Run it to its end, every line of its stderr told on.

    Raises MissingExtra, or BenchmarkDied with its last words. On Ctrl-C it is
    ended with all that it started.
    """
    _check_installed(program)
    argv = [sys.executable, "-P", "-m", program.module, "--rounds", str(rounds)]
    process = subprocess.Popen(
        [*argv, *["--quick"] * is_quick],
        env=Settings.load().environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Of a group of its own: it answers Ctrl-C once, and from here.
        start_new_session=True,
        # This thread alone starts processes, and none of them while it waits.
        preexec_fn=die_with_parent(),  # noqa: PLW1509
    )
    words: deque[str] = deque(maxlen=LAST_WORDS)
    listener = threading.Thread(target=_listen, args=(process, words, tell), daemon=True)
    listener.start()
    assert process.stdout is not None  # noqa: S101  # asked for above
    try:
        with process.stdout:
            said = process.stdout.read()
        code = process.wait()
    finally:
        _end(process)
        listener.join(1.0)
    return _read(program, said, code, words)


def _check_installed(program: Program) -> None:
    try:
        is_there = find_spec(program.module) is not None
    except ModuleNotFoundError:
        is_there = False
    lacking = [name for name in program.needs if find_spec(name) is None]
    if lacking or not is_there:
        what = ", ".join(lacking) or f"its program {program.module}"
        raise MissingExtra(
            f"the benchmark {program.name} needs {what}, which is not installed: "
            f"pip install 'genfarm[{program.extra}]'"
        )


def _listen(
    process: "subprocess.Popen[str]", words: deque[str], tell: Callable[[str], None]
) -> None:
    assert process.stderr is not None  # noqa: S101  # asked for in launch
    with process.stderr as lines:
        for line in lines:
            # A bar of tqdm's writes over itself.
            latest = line.rstrip().rpartition("\r")[2]
            if latest:
                words.append(latest)
                tell(latest)


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(program: Program, said: str, code: int, words: deque[str]) -> Report:
    last = "\n".join(words) or "it said nothing"
    if code != 0:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise BenchmarkDied(
            f"the benchmark {program.name} ({program.module}) ended by {how}:\n{last}"
        )
    try:
        return Report.from_json(json.loads(said))
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkDied(
            f"the benchmark {program.name} ({program.module}) printed no report: {error!r}. "
            f"It is to print one JSON object and nothing else on stdout. It ended with:\n{last}"
        ) from error
