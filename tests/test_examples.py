"""Every example runs as it stands, against the embedded farm, and says something."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genfarm import local

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a farm that is up, with one worker."""
    place = tmp_path_factory.mktemp("examples") / "home"
    local.start(workers=1, home=place, flower=False, detach=True)
    yield place
    assert local.stop(place)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(example: Path, home: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "GENFARM_HOME": str(home), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 40
