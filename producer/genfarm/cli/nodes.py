"""`genfarm models` and `genfarm workers`: who serves what."""

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from genfarm.cli.words import AsJson, Exit, Home, ago, emit, say, show_table

models = typer.Typer(help="What the farm can run; train and measure models.", no_args_is_help=True)
workers = typer.Typer(help="The workers of the farm.", no_args_is_help=True)

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@models.command("ls")
def list_models(home: Home = None, as_json: AsJson = False) -> None:
    """List the models that workers announce; without a farm, those of the registry here."""
    records = _announced(home) or _registered()
    if as_json:
        emit(records)
        return
    columns = ("model", "kind", "default", "workers", "description")
    rows = [
        (r["key"], r["kind"], "yes" if r["default"] else "", r["workers"], r["description"])
        for r in records
    ]
    show_table(columns, rows)


@models.command(context_settings=PASS_ON)
def train(context: typer.Context, name: Annotated[str, typer.Argument(help="Model key.")]) -> None:
    """Train a starter model on this computer. Further options go to the trainer."""
    _zoo("train", name, context.args)


@models.command(context_settings=PASS_ON)
def evaluate(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Model key.")]
) -> None:
    """Measure a starter model and print its figures."""
    _zoo("evaluate", name, context.args)


@models.command()
def pin(
    key: Annotated[str, typer.Argument(help="Key of the registry on this computer.")],
    home: Home = None,
) -> None:
    """Pin a model's files by SHA-256: workers refuse them once one has changed.

    Writes genfarm.sha256 beside them, and prints the lines for models.toml.
    """
    from genfarm_shared.settings import Settings

    argv = [sys.executable, "-P", "-m", "genfarm_workers.engines.weights", key]
    environment = Settings.load(home=home).environment()
    done = subprocess.run(argv, check=False, env=environment)
    raise typer.Exit(Exit.OK if done.returncode == 0 else Exit.INVALID)


@workers.command("ls")
def list_workers(
    everyone: Annotated[bool, typer.Option("--all", help="Those that have left, too.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the workers: what they have in hand, and their goodput.

    Goodput is the share of the last minute's busy time that went into rows that a task
    needed; in brackets, where the rest went. --json has the seconds, and those of all time.
    """
    from dataclasses import asdict

    from genfarm.cli.target import open_store
    from genfarm_shared.goodput import goodput_of, spell_goodput

    with open_store(home) as store:
        found = store.list_workers(everyone=everyone)
    if as_json:
        emit([asdict(worker) for worker in found])
        return
    now = time.time()
    rows = [
        (
            w.node,
            w.device,
            "parked" if w.report.get("parked") else w.state,
            w.report.get("in_hand", 0),
            spell_goodput(goodput_of(w)),
            _models_of(w.report),
            w.pid,
            ago(w.started_at, now),
            ago(w.beat_at, now),
        )
        for w in found
    ]
    columns = ("worker", "device", "state", "in hand", "goodput", "loaded", "pid", "up", "beat")
    show_table(columns, rows)
    for w in found:
        for what, reason in _troubles(w.report):
            say(f"{w.node}: {what}: {reason}")


def _models_of(report: Mapping[str, Any]) -> str:
    """Those on the device, in how many rows each, and how often one made way for another."""
    slots = report.get("slots", {})
    loaded = [f"{m} x{slots[m]}" if m in slots else str(m) for m in report.get("loaded", ())]
    evictions = report.get("residency", {}).get("evictions", 0)
    looping = (f"{model} (crash_loop)" for model in report.get("crash_loop", ()))
    return ", ".join([*loaded, *looping, *([f"{evictions} evictions"] if evictions else [])])


def _troubles(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What keeps a worker from work, and why."""
    looping = report.get("crash_loop", {}).items()
    found = [(f"crash_loop of {model}", str(reason)) for model, reason in looping]
    return [("parked", str(report["parked"])), *found] if report.get("parked") else found


def _announced(home: Any) -> list[dict[str, Any]]:
    from genfarm.cli.target import open_store
    from genfarm.models import list_models as gather
    from genfarm_shared.errors import Unreachable

    try:
        with open_store(home) as store:
            found = gather(store.list_workers())
    except Unreachable:
        return []
    return [
        {
            "key": model.key,
            "kind": model.kind,
            "default": model.is_default,
            "workers": model.workers,
            "description": model.description,
        }
        for model in found
    ]


def _registered() -> list[dict[str, Any]]:
    """The registry as a worker started here would read it; asked by module name."""
    import json

    from genfarm_shared.errors import Unreachable
    from genfarm_shared.settings import Settings

    argv = [sys.executable, "-P", "-m", "genfarm_workers.catalog", "--json"]
    answer = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=Settings.load().environment()
    )
    try:
        entries = json.loads(answer.stdout)
    except ValueError as error:
        raise Unreachable(
            "no worker has announced a model, and the registry here cannot be read: "
            f"{answer.stderr.strip().rpartition(chr(10))[2] or 'it said nothing'}"
        ) from error
    rows = entries.values() if isinstance(entries, dict) else entries
    return [{"workers": 0, **entry} for entry in rows]


def _zoo(verb: str, name: str, options: list[str]) -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        say(f"error: to {verb} a model needs torch: pip install 'genfarm[worker,zoo]'")
        raise typer.Exit(Exit.UNREACHABLE)
    argv = [sys.executable, "-P", "-m", "genfarm_workers.zoo", verb, name, *options]
    raise typer.Exit(subprocess.run(argv, check=False).returncode)
