"""`genfarm torture` as a person meets it: its verdict, its words, and what it leaves behind."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import lives
from tests.waiting import until

#: Seconds that a run of a few seconds may take on a busy machine.
LONG = 100.0


class Torture:
    """One run in a process of its own, and every process it ever had."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        command = [sys.executable, "-m", "genfarm", "torture", "--home", str(home), *options]
        self._errors = home.with_suffix(".stderr").open("w+")
        self._process = subprocess.Popen(
            [*command, "--json"], stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self.children: set[psutil.Process] = set()

    def watch(self) -> bool:
        """Note who belongs to it now; whether it has ended."""
        with suppress(psutil.NoSuchProcess):
            self.children |= set(psutil.Process(self._process.pid).children(recursive=True))
        return self._process.poll() is not None

    def count_results(self) -> int:
        self.watch()
        with suppress(sqlite3.Error), closing(self.open()) as rows:
            found: int = rows.execute("SELECT count(*) FROM results").fetchone()[0]
            return found
        return 0

    def open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.home}/farm.db?mode=rw", uri=True, timeout=30.0)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, JSON and words, once it has ended and left no process."""
        until(self.watch, LONG)
        out, _ = self._process.communicate(timeout=10)
        self._errors.seek(0)
        until(lambda: not self.living())
        return self._process.returncode, json.loads(out or "{}"), self._errors.read()

    def living(self) -> list[psutil.Process]:
        return [child for child in self.children if lives(child)]

    def close(self) -> None:
        for process in [psutil.Process(self._process.pid)] if not self.watch() else []:
            process.kill()
        for child in self.living():
            child.kill()
        self._process.wait()
        self._errors.close()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Any]:
    started: list[Torture] = []

    def run(options: Sequence[str]) -> Torture:
        started.append(Torture(tmp_path / f"run{len(started)}", *options))
        return started[-1]

    yield run
    for torture in started:
        torture.close()


def test_a_short_run_proves_its_books_and_leaves_no_process(runs: Any) -> None:
    torture = runs(
        "--seed 1 --seconds 8 --tasks 100 --workers 2 --faults {}".format(
            "kill-worker,kill-engine,freeze-worker,flush,drop-keys,doubles,db-lock,slow,disk-full"
        ).split()
    )
    code, report, said = torture.end()
    assert (code, report["violations"]) == (0, 0), (report, said)
    assert report["tasks"] >= 100
    assert (report["lost"], report["duplicated"], report["wrong"]) == (0, 0, 0)
    assert report["faults"] == sum(report["struck"].values()) > 0
    assert {"kills", "recovery_p50_seconds", "recovery_max_seconds"} <= report.keys()
    assert {"seed", "store", "seconds_run", "attempts"} <= report.keys()
    assert report["states"]["quarantined"] >= 1  # its poison was found
    picture = (torture.home / "torture.svg").read_text()
    assert picture.count("<g><title>") == report["faults"]
    assert "tasks ended a second" in picture
    assert torture.children


@pytest.mark.torture
def test_a_result_that_vanishes_is_a_violation_and_exit_code_1(runs: Any) -> None:
    torture = runs(["--seconds", "5", "--tasks", "40", "--workers", "1", "--faults", "doubles"])
    until(lambda: torture.count_results() > 5, LONG)
    with closing(torture.open()) as rows:
        (stolen,) = rows.execute("SELECT task_id FROM results LIMIT 1").fetchone()
        rows.execute("DELETE FROM results WHERE task_id = ?", [stolen])
        rows.commit()
    code, report, _said = torture.end()
    assert (code, report["lost"]) == (1, 1)
    assert next(b["rule"] for b in report["breaches"] if b["subject"] == stolen) == "I2"


def test_ctrl_c_ends_every_process_of_it(runs: Any) -> None:
    torture = runs(["--seconds", "60", "--workers", "1", "--faults", "freeze-worker"])
    until(lambda: torture.count_results() > 0, LONG)
    assert len(torture.children) >= 3  # Redis, a worker, its engine
    torture.signal(signal.SIGINT)
    code, report, said = torture.end()
    assert (code, report) == (130, {})
    assert "every process of it has ended" in said


@pytest.mark.torture
def test_a_killed_torture_takes_its_farm_with_it(runs: Any) -> None:
    torture = runs(["--seconds", "60", "--workers", "1", "--faults", "slow"])
    until(lambda: torture.count_results() > 0, LONG)
    torture.signal(signal.SIGKILL)
    assert torture.end()[0] == -signal.SIGKILL


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [11, 12])
def test_every_fault_together_breaks_no_promise(runs: Any, store: str, seed: int) -> None:
    torture = runs(f"--seed {seed} --seconds 30 --tasks 600 --store {store}".split())
    until(torture.watch, 400.0)
    code, report, said = torture.end()
    assert (code, report["violations"]) == (0, 0), (report, said)
