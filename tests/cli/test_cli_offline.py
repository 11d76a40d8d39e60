"""Commands that need no farm: help, settings, the doctor, and what is said when there is none."""

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from genfarm import Farm
from genfarm.demo import _load_models
from genfarm.doctor import _safely
from genfarm.flower import plain_way as flower_plainly
from genfarm.worker import plain_way as worker_plainly
from genfarm_shared.settings import Settings

from .conftest import Genfarm

HEAVY = ("torch", "sqlalchemy", "celery", "redis", "alembic", "diffusers", "transformers", "PIL")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom genfarm.cli import main\ncode = main(['--help'])\n"
        f"sys.exit(code or ','.join(sorted(set({HEAVY!r}) & set(sys.modules))) or 0)"
    )
    argv = [sys.executable, "-P", "-c", script]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    for name in ("demo", "up", "down", "run", "jobs", "models", "workers", "doctor"):
        assert name in answer.stdout


@pytest.mark.parametrize(
    "command",
    ["status", "run sleep 1", "flower", "worker", "jobs ls", "jobs show x", "results x", "metrics"],
)
def test_without_a_farm_a_command_says_how_to_start_one(genfarm: Genfarm, command: str) -> None:
    said = genfarm(*command.split())
    assert said.code == 5
    assert said.out == ""
    assert "genfarm up" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["nonsense", "run", "run sleep 1 -p novalue", "up --workers many", "run nokind 1"]
)
def test_wrong_usage_is_code_2(genfarm: Genfarm, command: str) -> None:
    said = genfarm(*command.split())
    assert said.code == 2
    assert said.out == ""
    assert said.err


def test_down_without_a_farm_is_no_fault(genfarm: Genfarm) -> None:
    assert json.loads(genfarm("down", "--json").out)["was_up"] is False


def test_config_show_masks_passwords_and_names_origins(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", "redis://me:hunter2@host:6379/0")
    monkeypatch.setenv("GENFARM_STORE", "postgresql+psycopg://me:hunter2@host/db")
    for options in ([], ["--json"]):
        said = genfarm("config", "show", *options)
        assert said.code == 0
        assert "hunter2" not in said.out + said.err
    found = {record["name"]: record for record in json.loads(said.out)}
    assert found["broker"]["value"] == "redis://me:***@host:6379/0"
    assert found["broker"]["origin"] == "environment"
    assert found["lease_seconds"]["origin"] == "default"


def test_config_path_is_in_the_home(genfarm: Genfarm, tmp_path: Path) -> None:
    said = genfarm("config", "path", "--home", tmp_path)
    assert said.out.strip() == str(tmp_path / "config.toml")


def test_a_bad_setting_is_one_line_and_code_2(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", "http://host")
    said = genfarm("status")
    assert said.code == 2
    assert "GENFARM_BROKER" in said.err
    assert "Traceback" not in said.err


def test_the_doctor_finds_a_misspelt_variable_and_a_dead_broker(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_BROKR", "x")
    monkeypatch.setenv("GENFARM_BROKER", "redis://:hunter2@127.0.0.1:1/0")
    said = genfarm("doctor", "--json")
    findings = json.loads(said.out)
    assert said.code == 5
    assert "hunter2" not in said.out
    levels = {finding["what"]: finding["level"] for finding in findings}
    assert levels["broker"] == "fail"
    assert levels["celery"] == levels["redis"] == levels["python"] == "ok"
    spelling = next(finding for finding in findings if finding["what"] == "settings")
    assert "GENFARM_BROKER" in spelling["fix"]


def test_db_upgrade_makes_the_tables(genfarm: Genfarm, tmp_path: Path) -> None:
    said = genfarm("db", "upgrade", "--store", f"sqlite:///{tmp_path}/new.db", "--json")
    assert said.code == 0
    assert json.loads(said.out)["upgraded"]
    assert (tmp_path / "new.db").exists()


def test_models_are_listed_without_a_farm(genfarm: Genfarm) -> None:
    said = genfarm("models", "ls", "--json")
    assert said.code == 0
    assert {"sleep", "digits", "stories"} <= {record["key"] for record in json.loads(said.out)}


def test_the_demo_says_what_is_missing(genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genfarm.demo.find_spec", lambda _name: None)
    said = genfarm("demo", "--json")
    assert said.code == 5
    assert "pip install 'genfarm[worker,local]'" in said.err
    assert said.out == ""


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A farm that is named and need not answer."""
    monkeypatch.setenv("GENFARM_BROKER", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("GENFARM_STORE", f"sqlite:///{tmp_path}/named.db")


@pytest.mark.parametrize(
    ("names", "said"),
    [("a.txt b.jsonl", "name one file"), ("a.txt prose", "name one file"), ("a.pq", "kind;")],
)
def test_a_file_is_never_taken_for_a_prompt(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.jsonl", "a.pq"):
        (tmp_path / name).touch()
    answer = genfarm("run", "text-generation", *names.split())
    assert answer.code == 2
    assert said in " ".join(answer.err.replace("│", "").split())


@pytest.mark.usefixtures("addresses")
def test_ctrl_c_before_the_submission_says_that_nothing_was_submitted(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Farm, "submit_many", interrupted)
    said = genfarm("run", "sleep", "1")
    assert said.code == 1
    assert "stopped; nothing was submitted" in said.err


@pytest.mark.usefixtures("addresses")
def test_flower_starts_in_a_home_that_is_not_there_yet(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *arguments: started.append(arguments))
    record = json.loads(genfarm("flower", "--port", "5999", "--json").out)
    password = Path(record["password_file"])
    assert password.parent == tmp_path / "home"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert record["flower_url"] == "http://127.0.0.1:5999"
    assert password.read_text().strip() in started[0][2]["FLOWER_BASIC_AUTH"]
    assert "will answer on http://127.0.0.1:5999" in genfarm("flower", "--port", "5999").err


@pytest.mark.usefixtures("addresses")
def test_flower_on_a_port_that_is_taken_names_the_option(genfarm: Genfarm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = genfarm("flower", "--port", taken.getsockname()[1])
    assert said.code == 5
    assert "--port" in said.err
    assert "answer on" not in said.err


def test_the_plain_ways_begin_with_a_command_and_name_what_must_be_set() -> None:
    assert flower_plainly(5555).startswith("celery -A genfarm_workers.app flower ")
    assert "GENFARM_BROKER" in flower_plainly(5555)
    assert "celery -A genfarm_workers.app worker" in worker_plainly("cpu", "cpu0")
    assert "GENFARM_BROKER and GENFARM_STORE" in worker_plainly("cpu", "cpu0")


@pytest.mark.usefixtures("addresses")
def test_the_doctor_makes_no_database(genfarm: Genfarm, tmp_path: Path) -> None:
    [store] = [f for f in json.loads(genfarm("doctor", "--json").out) if f["what"] == "store"]
    assert "is not there yet" in store["found"]
    assert not (tmp_path / "named.db").exists()
    (tmp_path / "named.db").touch()
    [store] = [f for f in json.loads(genfarm("doctor", "--json").out) if f["what"] == "store"]
    assert "genfarm db upgrade" in store["fix"]


def test_the_doctor_outlives_a_look_that_fails() -> None:
    def broken(_settings: Settings) -> Any:
        raise ZeroDivisionError("by nought")

    [finding] = _safely(broken, Settings.load())
    assert (finding.level, finding.what) == ("fail", "broken")
    assert "by nought" in finding.found


def test_the_demo_admits_that_models_were_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genfarm.demo.WARM_ROUNDS", 0)
    said: list[str] = []
    _load_models(cast("Any", None), cast("Any", None), 1, said.append)
    assert "not loaded by every worker" in said[0]


def test_a_demo_that_is_stopped_says_whether_its_farm_is_up(
    genfarm: Genfarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genfarm.demo.run_demo", interrupted)
    assert "farm is down" in genfarm("demo", "--home", tmp_path).err
    monkeypatch.setattr("genfarm.local.running", lambda _home: True)
    said = genfarm("demo", "--home", tmp_path)
    assert "was up before and stays up" in said.err
    assert said.code == 1


def test_a_starter_model_is_measured_by_its_name(genfarm: Genfarm) -> None:
    said = genfarm("models", "evaluate", "judge", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["accuracy"] >= 0.97


def test_an_export_that_differs_by_more_than_its_tolerance_is_a_failure(
    genfarm: Genfarm, tmp_path: Path
) -> None:
    out = tmp_path / "floats"
    options = ("--format", "torchscript", "--out", out, "--tolerance", "-1", "--json")
    said = genfarm("models", "export", "floats", *options)
    assert (said.code, said.out) == (2, "")
    assert "more than the tolerance" in said.err
    assert "Nothing was kept" in said.err
    assert not out.exists()
