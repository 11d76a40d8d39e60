"""`genfarm chains` at a farm that is up, and what it says of a file that is none."""

import json
from pathlib import Path

import pytest

from tests.waiting import until

from .conftest import Genfarm

STAGES = """
[[stage]]
kind = "batch-floats"
times = 2

[[stage]]
best = "values[0]"

[[stage]]
kind = "batch-floats"
name = "again"
values = "{values}"
"""


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    path = tmp_path / "stages.toml"
    path.write_text(STAGES)
    return path


@pytest.mark.usefixtures("at_farm")
def test_a_chain_of_a_file_runs_and_is_told_stage_by_stage(genfarm: Genfarm, stages: Path) -> None:
    said = genfarm("chains", "run", stages, "[1.0, 2.0]", "[3.0]", "--name", "twice", "--json")
    assert said.code == 0, said.err
    outputs = [json.loads(line)["output"]["values"] for line in said.out.splitlines()]
    assert [len(values) for values in outputs] == [2, 1]
    told = json.loads(genfarm("chains", "show", "twice", "--json").out)
    found = [(stage["stage"], stage["succeeded"]) for stage in told["stages"]]
    assert found == [("batch-floats", 4), ("best", 2), ("again", 2)]
    assert "batch-floats > best > again" in genfarm("chains", "ls").out
    assert json.loads(genfarm("chains", "retry", "twice", "--json").out)["retried"] == 0
    assert json.loads(genfarm("chains", "cancel", "twice", "--json").out)["cancelled"] == 0
    assert genfarm("audit", told["stages"][1]["id"]).code == 0
    refused = genfarm("jobs", "rm", told["stages"][1]["id"])
    assert (refused.code, f"genfarm chains rm {told['id']}" in refused.err) == (2, True)
    until(lambda: "ended" in genfarm("chains", "ls").out)
    assert genfarm("chains", "rm", "twice").code == 0
    assert genfarm("chains", "show", "twice").code != 0
    assert "twice" not in genfarm("jobs", "ls").out


@pytest.mark.usefixtures("at_farm")
def test_a_chain_that_goes_on_is_forgotten_only_once_it_is_cancelled(
    genfarm: Genfarm, tmp_path: Path
) -> None:
    path = tmp_path / "slow.toml"
    path.write_text("[[stage]]\nkind = 'sleep'\n[[stage]]\nkind = 'sleep'\nseconds = 600\n")
    assert genfarm("chains", "run", path, "600.0", "--name", "slow", "--detach").code == 0
    refused = genfarm("chains", "rm", "slow")
    assert (refused.code, "genfarm chains cancel slow" in refused.err) == (2, True)
    assert genfarm("chains", "cancel", "slow").code == 0
    assert genfarm("chains", "rm", "slow").code == 0
    assert genfarm("chains", "ls").out.count("slow") == 0


@pytest.mark.usefixtures("at_farm")
@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("a = ", "no TOML"),
        ("[other]", "expected [[stage]] tables"),
        ("[[stage]]\nname = 'x'", "stage 1: expected a kind"),
        ("[[stage]]\nkind = 'sleep'\n[[stage]]\nbest = 'score'", "nothing to choose from"),
    ],
)
def test_a_file_of_no_stages_is_code_2_and_named(
    genfarm: Genfarm, stages: Path, written: str, named: str
) -> None:
    stages.write_text(written)
    said = genfarm("chains", "run", stages, "1.0")
    assert said.code == 2
    assert named in said.err
