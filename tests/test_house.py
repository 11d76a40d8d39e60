"""The house's own rules: what imports what, how big a file is, what is public."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import genfarm

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for top in ("producer", "workers", "shared")
    for path in (ROOT / top).rglob("*.py")
    if "versions" not in path.parts
)


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter loads for a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "diffusers", "celery", "kombu", "pandas", "numpy"}
    assert not heavy & loaded_by("import genfarm")


def test_the_worker_process_loads_no_torch() -> None:
    modules = "genfarm_workers.node, genfarm_workers.intake, genfarm_shared.queue"
    assert "torch" not in loaded_by(f"import {modules}")


def test_the_command_lines_help_loads_nothing_heavy() -> None:
    statement = (
        "import sys; sys.argv = ['genfarm', '--help']\n"
        "from genfarm.cli import main\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    heavy = {"torch", "transformers", "diffusers", "celery", "sqlalchemy", "PIL"}
    assert not heavy & loaded_by(statement)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_its_duty_and_fits_its_room(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "its first line says its duty"
    assert source.count("\n") <= 320
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"


def test_the_environment_is_read_in_settings_alone() -> None:
    """Handing a child process this one's environment is no reading of a setting."""
    readers = []
    for path in SOURCES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "os.getenv" in line or "environ.get(" in line or 'environ["GENFARM' in line:
                readers.append(f"{path.relative_to(ROOT)}: {line.strip()}")
    allowed = ("shared/genfarm_shared/settings.py", "workers/genfarm_workers/__main__.py")
    assert not [reader for reader in readers if not reader.startswith(allowed)]


def test_a_store_verb_has_one_door() -> None:
    verbs: dict[str, list[str]] = {}
    for path in (ROOT / "shared/genfarm_shared/store").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                        verbs.setdefault(item.name, []).append(path.name)
    assert {name: rooms for name, rooms in verbs.items() if len(rooms) > 1} == {}


def test_the_public_face_is_few_words() -> None:
    assert {"Farm", "Job", "Item", "Result"} <= set(genfarm.__all__)
    errors = {name for name in genfarm.__all__ if issubclass(getattr(genfarm, name), Exception)}
    assert len(set(genfarm.__all__) - errors) <= 7
    for name in genfarm.__all__:
        assert getattr(genfarm, name).__doc__
