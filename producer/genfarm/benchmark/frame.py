"""What benchmark programs here share: their options, their words, and the peers they ask.

A peer is a program of its own that holds a model and answers one JSON object a
line (`genfarm_workers/benchmark/lines.py`). Knows no engine and no queue.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.processes import Child, Command, end
from genfarm.redis_server import prepare_server
from genfarm_shared.measure import Report
from genfarm_shared.settings import Settings

#: Lines of a dead peer's log that are told.
LAST_WORDS = 6
#: Seconds that a server gets to close its files.
GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What every benchmark program is told."""

    rounds: int
    #: Sizes that only show that it runs.
    is_quick: bool
    #: Names of parts; empty: all.
    only: frozenset[str]

    def wants(self, part: str) -> bool:
        return not self.only or part in self.only


class PeerFailed(Exception):
    """A peer could not do its round; says which and why."""


def read_options(said: str) -> Options:
    """The command line of a benchmark program."""
    parser = argparse.ArgumentParser(description=said)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each arm")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: no figures to keep")
    parser.add_argument("--only", default="", help="names of parts, comma-separated")
    given = parser.parse_args()
    return Options(given.rounds, given.quick, frozenset(filter(None, given.only.split(","))))


def tell(words: str) -> None:
    """Progress, for people."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def tell_rounds(title: str) -> Any:
    """What `interleave` tells of one part."""
    return lambda done, of, arm: tell(f"{title}: {done} of {of} measured ({arm})")


def print_report(report: Report) -> None:
    """The one thing that goes to stdout."""
    sys.stdout.write(json.dumps(report.to_json()) + "\n")
    sys.stdout.flush()


class Peer:
    """A program that answers; one round at a time."""

    def __init__(self, module: str, *options: str, log: Path) -> None:
        self._name = module.rpartition(".")[2]
        self._log = log
        with log.open("ab") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *options],
                env=Settings.load().environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
            )

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """Its answer, however long it takes. Raises PeerFailed."""
        assert self._process.stdin is not None  # noqa: S101  # asked for above
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps({"op": op, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"{self._name} died: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        fault = answer.get("error") or next(iter(answer.get("failures", ())), None)
        if fault:
            raise PeerFailed(f"{self._name} failed: {fault}")
        return answer

    def close(self) -> None:
        """End it by the end of its stdin."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _last_words(self) -> str:
        words = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(words[-LAST_WORDS:]) or "it said nothing"


@contextmanager
def peer(module: str, *options: str, log: Path) -> Iterator[Peer]:
    """A peer that is ended."""
    found = Peer(module, *options, log=log)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def redis_in(folder: Path) -> Iterator[str]:
    """URL of an embedded Redis server; it ends with the block. Raises MissingExtra."""
    server = prepare_server(folder)
    log = folder / "redis.log"
    child = Child(Command("redis", server.command, Settings.load().environment(), log))
    child.spawn(0.0)
    try:
        yield server.url
    finally:
        end([child], GRACE_SECONDS)


def read_entries(registry: Path) -> dict[str, Mapping[str, Any]]:
    """The registry as a worker here reads it with that file laid over it, by key."""
    settings = Settings.load(registry=str(registry))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "genfarm_workers.catalog", "--json"],
        env=settings.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {entry["key"]: entry for entry in json.loads(done.stdout)}
