"""Commands at a farm that is up: submit, follow, look, take, cancel."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genfarm import local
from genfarm.demo_count import tally
from genfarm.job import Job
from genfarm_shared.goodput import Goodput
from genfarm_shared.store import Store
from tests.waiting import until

from .conftest import Genfarm

pytestmark = pytest.mark.usefixtures("at_farm")


def test_run_writes_json_lines_in_the_order_asked_for(genfarm: Genfarm) -> None:
    said = genfarm("run", "batch-floats", "[1, 2]", "[3]", "--json", "--name", "floats")
    assert said.code == 0
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["input"]["values"] for line in lines] == [[1.0, 2.0], [3.0]]
    assert [len(line["output"]["values"]) for line in lines] == [2, 1]
    again = [json.loads(line) for line in genfarm("results", "floats").out.splitlines()]
    assert again == lines
    assert genfarm("results", "floats", "--errors").out == ""


def test_run_reads_files_and_writes_files(genfarm: Genfarm, tmp_path: Path) -> None:
    inputs, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    inputs.write_text('{"seconds": 0.0, "custom_id": "a"}\n{"seconds": 0.0, "custom_id": "b"}\n')
    said = genfarm("run", "sleep", inputs, "-p", "seed=5", "-o", out)
    assert said.code == 0
    assert said.out == ""
    assert [json.loads(line)["custom_id"] for line in out.read_text().splitlines()] == ["a", "b"]
    assert genfarm("run", "sleep", inputs, "-p", "seed=5", "-o", out).code == 2  # is there already


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("sleep 1 -m nomodel", "nomodel"),
        ("sleep 1 -p nothing=1", "nothing"),
        ("sleep -- -1", "seconds"),
        ("text-generation", "needs inputs"),
        ("sleep no-such-file.jsonl", "no-such-file.jsonl"),
    ],
)
def test_invalid_input_is_code_2_and_named(genfarm: Genfarm, arguments: str, named: str) -> None:
    said = genfarm("run", *arguments.split())
    assert said.code == 2
    assert named in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_malformed_line_is_named_by_its_number(genfarm: Genfarm, tmp_path: Path) -> None:
    inputs = tmp_path / "in.jsonl"
    inputs.write_text('{"seconds": 0}\n\n{broken\n')
    said = genfarm("run", "sleep", inputs)
    assert said.code == 2
    assert "line 3" in said.err


@pytest.mark.parametrize(
    "command",
    ["jobs show", "jobs watch", "jobs cancel", "jobs retry", "jobs rm", "results", "show"],
)
def test_an_unknown_job_is_code_4(genfarm: Genfarm, command: str) -> None:
    dest = ["/nowhere"] if command == "export" else []
    said = genfarm(*command.split(), "nobody", *dest)
    assert said.code == 4
    assert "nobody" in said.err
    assert said.out == ""


def test_a_job_that_ends_without_results_is_code_3(genfarm: Genfarm, slow_job: Any) -> None:
    assert genfarm("jobs", "rm", slow_job.id).code == 2  # it has not ended
    assert json.loads(genfarm("jobs", "cancel", slow_job.id, "--json").out)["cancelled"] == 1
    said = genfarm("jobs", "watch", slow_job.id, "--json")
    assert said.code == 3
    assert json.loads(said.out)["failed"] == 1
    assert f"`genfarm jobs retry {slow_job.id} all`" in said.err
    [line] = genfarm("results", slow_job.id, "--errors").out.splitlines()
    assert json.loads(line)["error"]["code"] == "cancelled"
    assert genfarm("jobs", "rm", slow_job.id).code == 0
    assert genfarm("jobs", "show", slow_job.id).code == 4


def test_a_watch_that_runs_out_of_time_lets_go(genfarm: Genfarm, slow_job: Any) -> None:
    said = genfarm("jobs", "watch", slow_job.id, "--timeout", "0.1")
    assert said.code == 130
    assert f"genfarm jobs watch {slow_job.id}" in said.err


def test_ctrl_c_lets_go_of_a_job_that_goes_on(genfarm: Genfarm) -> None:
    argv = [sys.executable, "-P", "-m", "genfarm", "run", "sleep", "599", "--name", "long"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as words:
        assert "job" in words.readline()
        process.send_signal(signal.SIGINT)
        said = words.read()
    assert process.wait() == 130
    assert "genfarm jobs watch long" in said
    assert json.loads(genfarm("jobs", "cancel", "long", "--json").out)["cancelled"] == 1


def test_every_list_is_json_for_programs(genfarm: Genfarm, at_farm: local.RunningFarm) -> None:
    assert genfarm("run", "sleep", "0", "--name", "listed").code == 0
    assert "listed" in [job["name"] for job in json.loads(genfarm("jobs", "ls", "--json").out)]
    assert json.loads(genfarm("jobs", "show", "listed", "--json").out)["succeeded"] == 1
    [worker] = json.loads(genfarm("workers", "ls", "--json").out)
    assert worker["pid"] == at_farm.workers[0].pid
    models = json.loads(genfarm("models", "ls", "--json").out)
    assert {"sleep", "floats"} <= {model["key"] for model in models}
    status = json.loads(genfarm("status", "--json").out)
    assert status["workers"][0]["state"] == "alive"
    password = at_farm.broker.removeprefix("redis://:").partition("@")[0]
    assert password not in json.dumps(status)
    for command in ("jobs ls", "jobs show listed", "workers ls", "models ls", "status", "doctor"):
        said = genfarm(*command.split())
        assert said.code == 0
        assert said.out


def test_goodput_is_said_of_a_worker_of_a_job_and_to_prometheus(
    genfarm: Genfarm, at_farm: local.RunningFarm
) -> None:
    assert genfarm("run", "sleep", "0.3", "--name", "useful").code == 0

    def useful() -> float:
        found = json.loads(genfarm("jobs", "show", "useful", "--json").out)["goodput"]
        assert found["workers"] == 1
        return float(found["useful"])

    until(lambda: useful() >= 0.3)
    [worker] = json.loads(genfarm("workers", "ls", "--json").out)
    total = Goodput.from_json(worker["report"]["goodput"]["total"])
    assert (total.fraction or 0.0) + sum(total.lost().values()) == pytest.approx(1.0)
    # What the two processes counted apart is no more than the worker's life.
    life = worker["beat_at"] - worker["started_at"]
    assert 0.3 <= total.useful <= total.busy
    assert total.busy + total.idle <= life + 1.0
    row = genfarm("workers", "ls").out.splitlines()[1]
    assert re.search(r"\d+% ", row)
    said = genfarm("metrics").out
    assert re.search(r"^genfarm_worker_goodput_ratio\{.*\} [01](\.\d+)?$", said, re.MULTILINE)


def test_the_tally_counts_what_has_not_ended_as_lost(
    genfarm: Genfarm, at_farm: local.RunningFarm
) -> None:
    assert genfarm("run", "sleep", "0", "0", "0", "--name", "counted").code == 0
    assert genfarm("run", "sleep", "598", "--name", "open", "--detach").code == 0
    store = Store(at_farm.store)
    found = tally(store, [store.find_job(name).id for name in ("counted", "open")])
    store.close()
    assert (found.tasks, found.succeeded, found.failed) == (4, 3, 0)
    assert (found.lost, found.duplicated, found.takeovers) == (1, 0, 0)
    assert genfarm("jobs", "cancel", "open").code == 0


def test_up_ends_its_farm_at_ctrl_c(tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-m", "genfarm", "up", "--workers", "0", "--no-flower", "--json"]
    argv += ["--home", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as process:  # type: ignore[call-overload]
        farm = json.loads(process.stdout.readline())
        os.kill(farm["pid"], 0)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert local.running(tmp_path) is None


def test_results_without_pictures_are_shown_as_json_and_make_no_sheet(
    genfarm: Genfarm, tmp_path: Path
) -> None:
    assert genfarm("run", "batch-floats", "[4]", "--name", "shown").code == 0
    record = json.loads(genfarm("show", "shown", "--json").out)
    assert [row["input"] for row in record["results"]] == ["[4.0]"]
    said = genfarm("show", "shown", "-o", tmp_path / "sheet.png")
    assert said.code == 2
    assert "genfarm export shown" in " ".join(said.err.replace("│", "").split())
    assert not (tmp_path / "sheet.png").exists()


def test_an_export_over_a_folder_names_the_option(genfarm: Genfarm, tmp_path: Path) -> None:
    assert genfarm("run", "sleep", "0", "--name", "exported").code == 0
    dest = tmp_path / "out"
    assert genfarm("export", "exported", dest).code == 0
    said = genfarm("export", "exported", dest)
    assert said.code == 2
    assert "--overwrite" in said.err
    assert "overwrite=True" not in said.err
    assert genfarm("export", "exported", dest, "--overwrite").code == 0


def test_an_export_says_that_it_waits_and_lets_go_at_ctrl_c(
    genfarm: Genfarm, slow_job: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "save", interrupted)
    said = genfarm("export", slow_job.id, tmp_path / "out")
    assert said.code == 130
    assert "waiting for its end" in said.err
    assert "the job goes on" in said.err


def test_up_at_a_farm_that_is_up_says_what_it_ignored(at_farm: local.RunningFarm) -> None:
    argv = [sys.executable, "-P", "-m", "genfarm", "up", "--workers", "3"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True)
    ignored = "already up with 1 worker; --workers was ignored: `genfarm down` first"
    assert ignored in answer.stderr
    assert local.running(at_farm.home) is not None
