"""The zoo's command line, and that a training depends on its seed and steps alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genfarm_workers import zoo
from genfarm_workers.zoo.__main__ import main
from genfarm_workers.zoo.training import Plan, read_training


def weights(directory: Path) -> dict[str, bytes]:
    found = directory.rglob("*.safetensors")
    return {str(file.relative_to(directory)): file.read_bytes() for file in found}


#: Two steps of theirs take ten seconds and more: corpora, tokenizers, and models within models.
SLOW = {"code", "digits", "music", "stories", "video"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.torture] if name in SLOW else []) for name in zoo.NAMES],
)
def test_the_same_seed_and_steps_give_the_same_weights(name: str, tmp_path: Path) -> None:
    for run in ("first", "second"):
        zoo.room(name).train(Plan(tmp_path / run, seed=5, steps=2, threads=1))
    assert weights(tmp_path / "first")
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_evaluate_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "judge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 360


def test_train_leaves_a_card_with_its_own_command(tmp_path: Path) -> None:
    assert main(["train", "judge", "--out", str(tmp_path), "--seed", "3", "--steps", "2"]) == 0
    card = (tmp_path / "README.md").read_text()
    assert "train judge --seed 3 --steps 2 --threads 1" in card


@pytest.mark.parametrize("name", zoo.NAMES)
def test_each_shipped_model_has_a_card_that_fits_its_record(name: str) -> None:
    training = read_training(zoo.path(name))
    assert training.name == name
    assert f"{training.parameters:,} parameters" in (zoo.path(name) / "README.md").read_text()


@pytest.mark.parametrize("name", zoo.NAMES)
def test_no_file_of_a_shipped_model_names_a_place_on_the_machine_that_made_it(name: str) -> None:
    for file in zoo.path(name).rglob("*.json"):
        assert '"_name_or_path": "/' not in file.read_text(encoding="utf-8"), file


def test_ls_names_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    main(["ls"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(zoo.NAMES)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="judge, digits, stories"):
        zoo.path("mona-lisa")


def test_importing_the_zoo_imports_no_torch() -> None:
    probe = "import sys, genfarm_workers.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
