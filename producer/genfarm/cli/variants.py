"""`genfarm models export` and `compare`: a model as a file, and in other precisions."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from genfarm.cli.words import AsJson, Exit, Home, say

Key = Annotated[str, typer.Argument(help="Key of the registry on this computer.")]


def add_to(models: typer.Typer) -> None:
    models.command()(export)
    models.command()(compare)


def export(  # noqa: PLR0913  # one parameter an option
    key: Key,
    *,
    form: Annotated[
        str, typer.Option("--format", help="torch-export, torchscript or onnx.")
    ] = "torch-export",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; else one below exports/ of the home.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Another precision than the registry's.")] = "",
    tolerance: Annotated[
        float | None, typer.Option(help="Largest difference allowed; else by precision.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write a model to a file that runs without its code, checked against the eager model.

    Prints the largest difference found at several batch sizes, and the block of models.toml
    that serves the file. One that differs by more than the tolerance is not kept.
    """
    options = ["--format", form]
    options += ["--out", str(out)] if out else []
    options += ["--dtype", dtype] if dtype else []
    options += ["--tolerance", str(tolerance)] if tolerance is not None else []
    _run("exporting", [key, *options, *(["--json"] if as_json else [])], home)


def compare(
    key: Key,
    dtype: Annotated[
        str, typer.Option(help="Precisions to hold against float32, comma-separated.")
    ] = "bfloat16,int8",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a model costs and gives in other precisions than float32.

    Size, CPU time of a row, largest difference, share of equal answers, and the figures of a
    starter model on its held-out data. Change dtype in models.toml to serve one of them.
    """
    _run("comparing", [key, "--dtype", dtype, *(["--json"] if as_json else [])], home)


def _run(room: str, arguments: list[str], home: Path | None) -> None:
    """A program of the worker's side, by module name."""
    from importlib.util import find_spec

    from genfarm_shared.settings import Settings

    if find_spec("torch") is None:
        say("error: this needs torch: pip install 'genfarm[worker]'")
        raise typer.Exit(Exit.UNREACHABLE)
    argv = [sys.executable, "-P", "-m", f"genfarm_workers.engines.{room}", *arguments]
    done = subprocess.run(argv, check=False, env=Settings.load(home=home).environment())
    raise typer.Exit(Exit.OK if done.returncode == 0 else Exit.INVALID)
