"""Real workers that serve more models than their memory holds."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from genfarm.cli import main
from genfarm_shared.tasks import State
from tests.waiting import until
from tests.yard import Yard

#: Seconds of a load, and bytes of a model.
LOAD, SIZE = 0.05, 4096


def registry(folder: Path, *models: str) -> str:
    """Drills whose files say that they are SIZE bytes large."""
    files = folder / "weights"
    files.mkdir()
    head = json.dumps({"w": {"dtype": "F32", "shape": [SIZE // 4], "data_offsets": [0, 0]}})
    (files / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head.encode())
    path = folder / "many.toml"
    lines = [
        f'[models.{model}]\nkind = "drill"\nengine = "drill"\nslots = 4\nsource = "{files}"\n'
        f"limits = {{ load_seconds = {LOAD} }}\n"
        for model in models
    ]
    path.write_text("\n".join(lines))
    return str(path)


def reports(yard: Yard) -> list[dict[str, Any]]:
    return [dict(worker.report["residency"]) for worker in yard.store.list_workers()]


def test_one_worker_runs_more_models_than_fit_and_says_what_it_holds(
    yard: Yard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = registry(tmp_path, "a", "b", "c")
    yard.start_worker("a,b,c", registry=found, memory=SIZE + 1)
    jobs = [yard.submit("drill", *[{"seconds": 0.0}] * 12, model=model) for model in "abc"]
    until(lambda: all(map(yard.finished, jobs)))
    assert [yard.states(job) for job in jobs] == [{State.SUCCEEDED: 12}] * 3
    until(lambda: reports(yard)[0]["evictions"] >= 2 and reports(yard)[0]["held_bytes"])
    (report,) = reports(yard)
    assert report["loads"] == report["evictions"] + 1
    assert report["budget_bytes"] == SIZE + 1
    capfd.readouterr()
    assert main(["workers", "ls"]) == 0
    # The worker may have turned to another model since.
    said = re.search(r"(\d+) evictions", capfd.readouterr().out)
    assert said is not None
    assert int(said[1]) >= report["evictions"]
