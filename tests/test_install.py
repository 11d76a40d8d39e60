"""`pip install genfarm` without extras: what a client costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What the packages may weigh as they come from an index, in bytes.
LIMIT = 40 * 1024 * 1024


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
