"""`make demo` is the main job, with a killed worker in it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.test_readme import ROOT, environment


@pytest.mark.timeout(300)
def test_make_demo_is_the_demo(tmp_path: Path) -> None:
    """The same demo with fewer pictures; it kills a worker and loses nothing."""
    shown = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bin/genfarm demo\n" in shown.stdout
    done = subprocess.run(
        ["genfarm", "demo", "--items", "40", "--seconds", "0.5", "--json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["tasks"], found["succeeded"]) == (80, 80)
    assert (found["lost"], found["duplicated"], found["failed"]) == (0, 0, 0)
    assert found["flower_states"] == {"SUCCESS": 80}
    assert found["recognised"] >= 0.9
    assert Path(found["gallery"]).exists()
