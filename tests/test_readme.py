"""Every block of the README is run as it stands, by a newcomer's means."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from genfarm_shared.store import Store
from genfarm_workers.catalog import read_catalog
from tests.waiting import until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
#: Where a block is run, and by which test.
TESTED = {
    "text": "a drawing",
    "python": "test_the_ten_lines_run_as_they_stand",
    "toml": "test_the_registry_example_is_read",
    "pip install genfarm": "tests/test_install.py",
    "make demo": "tests/test_demo.py",
    "genfarm up": "test_the_commands_run_one_after_the_other",
    "genfarm torture": "tests/faults/test_torture.py",
    "export GENFARM_BROKER": "test_a_cluster_worker_starts_as_shown",
}


def block(start: str) -> str:
    """The one block of that language, or that begins so."""
    (found,) = [text for language, text in BLOCKS if start in (language, text[: len(start)])]
    return str(found)


def environment(home: Path) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "GENFARM_HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "TQDM_DISABLE": "1",
    }


def test_every_block_has_a_test() -> None:
    for language, text in BLOCKS:
        assert any(start == language or text.startswith(start) for start in TESTED), text


@pytest.mark.timeout(240)
def test_the_ten_lines_run_as_they_stand(tmp_path: Path) -> None:
    script = tmp_path / "ten.py"
    script.write_text(block("python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "digits.png") as sheet:
        assert sheet.width > 100
    texts = done.stdout.strip().splitlines()
    assert len(texts) >= 2
    assert all(len(text) > 20 for text in texts)


def test_the_registry_example_is_read(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(block("toml"), encoding="utf-8")
    assert read_catalog(tmp_path / "models.toml")["my-gpt"].slots == 64


@pytest.mark.timeout(240)
def test_the_commands_run_one_after_the_other(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", block("genfarm up")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "text-generation" in done.stdout
    assert "cpu0@" in done.stdout


def test_a_cluster_worker_starts_as_shown(
    tmp_path: Path, broker_url: str, postgres_url: str
) -> None:
    commands = block("export GENFARM_BROKER")
    for shown, real in (
        ("redis://redis.example:6379/0", broker_url),
        ("postgresql+psycopg://farm@db.example/farm", postgres_url),
        ("/mnt/shared/artifacts", str(tmp_path / "artifacts")),
    ):
        assert shown in commands
        commands = commands.replace(shown, f"'{real}'")
    store = Store(postgres_url)
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-e", "-c", commands],
            env=environment(tmp_path),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(store.list_workers)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        store.close()
