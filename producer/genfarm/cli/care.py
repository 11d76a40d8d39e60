"""`doctor`, `config` and `db`: what is set, what is wrong, and how to mend it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genfarm.cli.words import AsJson, Exit, Home, emit, say, show_table, write

config = typer.Typer(help="The settings, and where each comes from.", no_args_is_help=True)
db = typer.Typer(help="The store's tables.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Look for what could keep a farm from working here, and say the fix."""
    from dataclasses import asdict

    from genfarm.doctor import FAIL, examine
    from genfarm_shared.settings import Settings

    findings = list(examine(Settings.load(home=home)))
    if as_json:
        emit([asdict(finding) for finding in findings])
    else:
        show_table(("", "", "", ""), [(f.level, f.what, f.found, f.fix) for f in findings])
    failed = any(finding.level == FAIL for finding in findings)
    raise typer.Exit(Exit.UNREACHABLE if failed else Exit.OK)


@config.command("show")
def show_config(home: Home = None, as_json: AsJson = False) -> None:
    """List every setting, its value and its origin; passwords are masked."""
    from genfarm_shared.settings import PREFIX, Settings

    settings = Settings.load(home=home)
    records = [
        {
            "name": name,
            "variable": PREFIX + name.upper(),
            "value": _shown(getattr(settings, name)),
            "origin": settings.origin(name),
        }
        for name in Settings.model_fields
    ]
    if as_json:
        emit(records)
    else:
        rows = [(r["name"], r["value"], r["origin"], r["variable"]) for r in records]
        show_table(("setting", "value", "origin", "variable"), rows)


@config.command("path")
def config_path(home: Home = None, as_json: AsJson = False) -> None:
    """Say where the settings file is looked for."""
    from genfarm_shared.settings import Settings

    path = Settings.load(home=home).home / "config.toml"
    if as_json:
        emit({"path": str(path), "exists": path.exists()})
    else:
        write(str(path))


@db.command()
def upgrade(
    store: Annotated[str, typer.Option(help="SQLAlchemy URL; else GENFARM_STORE.")] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Bring the store's tables to this version; safe to run again."""
    from genfarm_shared.settings import Settings
    from genfarm_shared.store import Store

    opened = Store(Settings.load(home=home, store=store or None).store_url)
    opened.close()
    if as_json:
        emit({"store": opened.url, "upgraded": True})
    else:
        say(f"{opened.url} is at this version")


def _shown(value: Any) -> Any:
    from genfarm_shared.settings import masked

    if isinstance(value, str) and "://" in value:
        return masked(value)
    return str(value) if isinstance(value, Path) else value
