"""Commands that need no farm: help, settings, the doctor, and what is said when there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    ["status", "run sleep 1", "flower", "worker", "jobs ls", "jobs show x", "results x"],
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
