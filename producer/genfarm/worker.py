"""Start workers from the command line: one in this process's place, or one a GPU.

Starts them by module name; imports nothing of theirs.
"""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from genfarm.devices import Seat, seat_workers
from genfarm.link import locate
from genfarm.processes import Child, Command, end
from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.settings import PRIVATE, Settings

Say = Callable[[str], None]


def become_worker(device: str, models: str, node: str, home: Path | None, say: Say) -> None:
    """Replace this process by one worker, so that a signal meets the worker itself."""
    settings = _settings(models, home)
    name = node or device.replace(":", "")
    argv = Seat(name, device, threads=0).command(sys.executable)
    say(f"the plain way: {plain_way(device, name)}")
    os.execve(sys.executable, argv, settings.environment())  # no shell is wanted


def plain_way(device: str, name: str) -> str:
    """The same command for whoever goes without genfarm's own."""
    command = f"GENFARM_DEVICE={device} celery -A genfarm_workers.app worker -n {name}@%h"
    return f"{command}  (with GENFARM_BROKER and GENFARM_STORE set)"


def run_worker_per_gpu(models: str, home: Path | None, say: Say) -> int:
    """Run one worker a GPU until SIGTERM or Ctrl-C; dead ones are restarted."""
    settings = _settings(models, home)
    base = settings.environment()
    seats = seat_workers("auto", base, settings.threads)
    logs = settings.home / "logs"
    settings.home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    logs.mkdir(exist_ok=True)
    children = [
        Child(
            Command(
                seat.node,
                seat.command(sys.executable),
                seat.environment(base),
                logs / f"{seat.node}.log",
            )
        )
        for seat in seats
    ]
    for child in children:
        say(f"{child.command.name}: {shlex.join(child.command.argv)}  (log {child.command.log})")
    _keep(children, settings.drain_timeout)
    return 0


def _keep(children: list[Child], drain_seconds: float) -> None:
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: asked.set())
    try:
        while not asked.wait(0.2):
            for child in children:
                if child.has_refused():
                    words = child.last_words(1)
                    raise InvalidSetting(f"{child.command.name} refuses to start: {words}")
                child.revive(time.monotonic())
    finally:
        end(children, drain_seconds + 3.0)


def _settings(models: str, home: Path | None) -> Settings:
    """Settings with the farm's addresses filled in, so that the worker finds it."""
    try:
        address = locate(None, None, None, home)
    except Unreachable as error:
        raise Unreachable(f"a worker needs a farm to join: {error}") from error
    if not address.broker:
        raise InvalidSetting("a worker needs the farm's broker: set GENFARM_BROKER")
    return Settings.load(
        home=home,
        broker=address.broker,
        store=address.store,
        artifacts=address.artifacts,
        models=models or None,
    )
