"""`pip install genfarm` without extras: what a client costs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from genfarm_workers import zoo

ROOT = Path(__file__).parent.parent
#: What the packages may weigh as they come from an index, in bytes.
LIMIT = 40 * 1000 * 1000


@pytest.mark.timeout(300)
def test_the_client_is_light_and_has_no_torch(tmp_path: Path) -> None:
    """From the project's own source, with the pins, into a folder of its own."""
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "wheel", "--wheel-dir", wheels, *pins, ROOT], check=True)
    names = {path.name.partition("-")[0].lower() for path in wheels.iterdir()}
    assert {"genfarm", "celery", "redis", "sqlalchemy"} <= names
    assert not {"torch", "transformers", "diffusers", "numpy", "flower", "tornado"} & names
    assert sum(path.stat().st_size for path in wheels.iterdir()) < LIMIT
    local = ["--no-index", "--find-links", str(wheels), "--target", str(site)]
    subprocess.run([*pip, "install", *local, "genfarm"], check=True)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import genfarm; print(genfarm.Farm.__name__)"],
        env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "Farm", done.stderr


@pytest.mark.timeout(120)
def test_the_starter_models_are_a_package_of_their_own(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    starters = ROOT / "deploy" / "starters"
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, starters], check=True)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as file:
        there = {Path(name).parts[1] for name in file.namelist() if "genfarm_starters/" in name}
        file.extractall(tmp_path / "site")
    assert there == set(zoo.NAMES)
    look = "import genfarm_workers.zoo as zoo; print(zoo.path('stories'))"
    package = tmp_path / "site" / "genfarm_workers"
    shutil.copytree(ROOT / "workers" / "genfarm_workers", package, ignore=_without_weights)
    done = subprocess.run(
        [sys.executable, "-S", "-c", look],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "site" / "genfarm_starters" / "stories")


def _without_weights(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "weights"]
