"""`genfarm bench` as a person meets it: programs of its own, tables, pictures and last words."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from genfarm.benchmark.table import PROGRAMS, Program
from genfarm.cli import main
from tests.processes import lives
from tests.waiting import until

REPORT = """
import argparse, json, sys
from genfarm_shared.measure import Measured, Part, Ratio, Report
parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int)
parser.add_argument("--quick", action="store_true")
given = parser.parse_args()
print("half-way", file=sys.stderr)
arms = (Measured("genfarm", (90.0, 110.0, 100.0)), Measured("<peer> & co", (9.0, 11.0, 10.0)))
ratios = (Ratio("genfarm / peer", 10.0, 20.0), Ratio("bytes", 9.0, 12.0, is_ceiling=True))
notes = (f"{given.rounds} rounds, quick {given.quick}",)
part = Part("sending", "tasks/s", arms, ratios, notes)
print(json.dumps(Report("mine", "us or them?", (part,)).to_json()))
"""
LONG = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""
DEATH = "import sys\nprint('step one', file=sys.stderr)\nsys.exit('no such device')\n"

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a module of that source a benchmark of that name."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(filter(None, sys.path))}")
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"bench_{name}.py").write_text(source)
        monkeypatch.setitem(PROGRAMS, name, Program(name, f"bench_{name}", "of this test"))

    return write


def test_a_report_is_shown_as_a_table_with_what_was_wanted(
    install: Install, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    install("mine", REPORT)
    picture = tmp_path / "mine.svg"
    assert main(["bench", "mine", "--rounds", "3", "--quick", "--plot", str(picture)]) == 0
    said, words = capfd.readouterr()
    assert "half-way" in words
    row = next(line for line in said.splitlines() if "<peer> & co" in line)
    assert row.split() == ["<peer>", "&", "co", "10.0", "9.00", "..", "11.0", "10.0"]
    assert "genfarm / peer: 10.0, at least 20 wanted: MISSED" in said
    assert "bytes: 9.00, at most 12 wanted: met" in said
    assert "3 rounds, quick True" in said
    drawn = picture.read_text()
    assert "&lt;peer&gt; &amp; co" in drawn
    assert "sending (tasks/s)" in drawn


def test_json_is_the_report_and_a_folder_keeps_both(
    install: Install, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    install("mine", REPORT)
    assert main(["bench", "mine", "--json", "--save", str(tmp_path / "kept")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["parts"][0]["arms"][0]["values"] == [90.0, 110.0, 100.0]
    kept = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert kept == [".json", ".svg"]
    (written,) = (tmp_path / "kept").glob("*.json")
    assert json.loads(written.read_text()) == found


def test_a_program_that_dies_says_its_last_words_and_the_others_go_on(
    install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("dying", DEATH)
    install("mine", REPORT)
    assert main(["bench", "dying", "mine", "--json"]) == 3
    said, words = capfd.readouterr()
    assert [report["name"] for report in json.loads(said)] == ["mine"]
    assert "benchmark dying (bench_dying) ended by exit code 1:\nstep one\nno such device" in words


def test_ctrl_c_ends_the_program_and_all_that_it_started(install: Install, tmp_path: Path) -> None:
    install("long", LONG)
    code = (
        "import sys\nfrom genfarm.benchmark.table import PROGRAMS, Program\n"
        "from genfarm.cli import main\n"
        "PROGRAMS['long'] = Program('long', 'bench_long', '')\nsys.exit(main(['bench', 'long']))"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        started = [psutil.Process(int(pid)) for pid in command.stderr.readline().split()]
        command.send_signal(signal.SIGINT)
        assert "every process of it have ended" in command.stderr.read()
    assert command.returncode == 130
    until(lambda: not any(map(lives, started)))


def test_a_program_that_prints_no_report_is_said_to(
    install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("chatty", "print('hello')")
    assert main(["bench", "chatty"]) == 3
    assert "printed no report" in capfd.readouterr().err


def test_what_is_not_installed_names_the_extra(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Program("absent", "genfarm_workers.benchmark.absent", "", (), "worker")
    monkeypatch.setitem(PROGRAMS, "absent", absent)
    assert main(["bench", "absent"]) == 5
    assert "pip install 'genfarm[worker]'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("args", "code"), [("nonsense", 4), ("farm --plot x.pdf", 2), ("--plot x.svg", 2)]
)
def test_wrong_usage_is_said_before_anything_runs(args: str, code: int) -> None:
    assert main(["bench", *args.split()]) == code
