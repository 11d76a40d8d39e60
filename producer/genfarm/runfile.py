"""`farm.json`: what a running embedded farm tells whoever looks into its home.

    <home>/farm.json    0600, replaced by rename; there only while the farm is up
    <home>/farm.lock    locked by the supervisor from its start to its end; its pid

The first holds the broker's password, hence its mode. Starts and stops nothing.
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

NAME, LOCK = "farm.json", "farm.lock"
#: Seconds that an owner may take from its lock to writing its pid.
PID_SECONDS = 1.0
#: Seconds by which two readings of one process's start time may differ.
CLOCK_SLACK = 1.0


@dataclass(frozen=True, slots=True)
class RunningWorker:
    """A worker process of an embedded farm."""

    #: Celery node name without the host, `cpu0`.
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class RunningFarm:
    """An embedded farm that is up, and how to reach it."""

    home: Path
    #: The supervisor's process.
    pid: int
    #: When the supervisor started, UTC seconds; with the pid, what makes it ours.
    started_at: float
    #: Broker URL, password included: do not print it.
    broker: str = field(repr=False)
    #: SQLAlchemy URL of the store.
    store: str
    #: fsspec URL of the artefact store.
    artifacts: str
    #: None when Flower does not run.
    flower_url: str | None = None
    workers: Sequence[RunningWorker] = ()
    #: Pids of what else the supervisor owns, `redis` and `flower`, by name.
    servers: Mapping[str, int] = field(default_factory=dict)


def running(home: Path | str) -> RunningFarm | None:
    """The farm that is up in that home; None when there is none, or it has died."""
    farm = _load(Path(home).expanduser().absolute() / NAME)
    return farm if farm and is_alive(farm.pid, farm.started_at) else None


def owner(home: Path) -> int | None:
    """Pid of the supervisor that holds the home's lock, on its way up or down too."""
    give_up = time.monotonic() + PID_SECONDS
    while time.monotonic() < give_up:
        try:
            with (home / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # it was free, and closing the file has let go of it
        except BlockingIOError:
            said = (home / LOCK).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        if said.isdecimal():
            return int(said)
        time.sleep(0.01)
    return None


def left_behind(home: Path) -> list[int]:
    """Pids of processes that a supervisor which died could not end.

    A pid counts only when its process is older than the `farm.json` that names it:
    then it is the process that was named.
    """
    path = home / NAME
    farm = _load(path)
    if farm is None:
        return []
    written = path.stat().st_mtime
    pids = [worker.pid for worker in farm.workers] + list(farm.servers.values())
    return [pid for pid in pids if _was_there(pid, written)]


def is_alive(pid: int, started_at: float) -> bool:
    """Whether that very process runs; a later one with the same pid does not count."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started_at) < CLOCK_SLACK
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def announce(farm: RunningFarm) -> None:
    """Write `farm.json` anew; a reader sees the old one or the new one, never half."""
    record: dict[str, Any] = asdict(farm) | {"home": str(farm.home)}
    fresh = farm.home / f"{NAME}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
    fresh.replace(farm.home / NAME)


def withdraw(home: Path) -> None:
    """Remove `farm.json`: the farm takes nobody in any more."""
    (home / NAME).unlink(missing_ok=True)


def _load(path: Path) -> RunningFarm | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        workers = tuple(RunningWorker(w["node"], w["pid"]) for w in record.pop("workers"))
        home = Path(record.pop("home"))
        known = {name: record[name] for name in RunningFarm.__slots__ if name in record}
        return RunningFarm(home=home, workers=workers, **known)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, or of a version that knew other fields: nobody to attach to


def _was_there(pid: int, written: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() <= written + CLOCK_SLACK)
    except psutil.Error:
        return False
