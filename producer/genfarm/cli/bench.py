"""`bench`: what the farm costs and gains, each figure beside its peers in the same run."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genfarm.cli.teller import teller
from genfarm.cli.words import AsJson, Exit, emit, say, show_table

if TYPE_CHECKING:
    from genfarm.benchmark.table import Program
    from genfarm_shared.measure import Report


def add_to(app: typer.Typer) -> None:
    app.command()(bench)


def bench(  # noqa: PLR0913  # one parameter an option
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; --list shows them.")
    ] = None,
    *,
    list_them: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each arm.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: no figures to keep.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture of the report, .svg or .png.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder that keeps JSON and picture of each.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the farm beside its peers and limits, in turns; all benchmarks without a name.

    Exit 3: one of them died. A goal that is missed is a figure, not a failure.
    """
    from genfarm.benchmark.table import choose_programs

    programs = choose_programs(names or [])
    if list_them:
        _list_programs(programs, as_json=as_json)
        return
    _check_plot(plot, programs)
    reports = _run(programs, rounds, save, is_quick=quick, is_shown=not as_json)
    if plot is not None and reports:
        from genfarm.benchmark.chart import draw_report

        draw_report(reports[0]).save(plot)
    if as_json:
        found = [report.to_json() for report in reports]
        emit(found[0] if len(programs) == 1 and found else found)
    if quick and reports:
        say("quick: these sizes show that it runs, and are no figures to keep")
    raise typer.Exit(Exit.OK if len(reports) == len(programs) else Exit.FAILED_ITEMS)


def _run(
    programs: Sequence["Program"],
    rounds: int,
    save: Path | None,
    *,
    is_quick: bool,
    is_shown: bool,
) -> list["Report"]:
    """The reports of those that gave one; each is shown and kept as soon as it is there."""
    from genfarm.benchmark.launching import BenchmarkDied, launch
    from genfarm_shared.errors import MissingExtra

    reports = []
    for program in programs:
        tell = teller(seconds=0.0)
        try:
            report = launch(program, rounds=rounds, is_quick=is_quick, tell=tell)
        except KeyboardInterrupt:
            tell("")
            say(f"stopped: {program.name} and every process of it have ended")
            raise typer.Exit(Exit.DETACHED) from None
        except (BenchmarkDied, MissingExtra) as error:
            tell("")
            if len(programs) == 1 and isinstance(error, MissingExtra):
                raise
            say(f"error: {error}")
            continue
        tell("")
        reports.append(report)
        if is_shown:
            _show(report)
        if save is not None:
            _keep(report, save)
    return reports


def _check_plot(plot: Path | None, programs: Sequence["Program"]) -> None:
    """Before minutes of measuring, not after."""
    if plot is None:
        return
    if plot.suffix.lower() not in (".svg", ".png"):
        raise typer.BadParameter(f"--plot {plot}: expected a name that ends in .svg or .png")
    if len(programs) != 1:
        raise typer.BadParameter("--plot draws one benchmark: name it, or use --save for all")


def _list_programs(programs: Sequence["Program"], *, as_json: bool) -> None:
    rows = [(program.name, program.said) for program in programs]
    if as_json:
        emit([{"name": name, "said": said} for name, said in rows])
    else:
        show_table(("benchmark", "what it holds against what"), rows)


def _show(report: "Report") -> None:
    from rich.console import Console

    from genfarm.benchmark.words import tell_report

    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(tell_report(report))


def _keep(report: "Report", folder: Path) -> None:
    from genfarm.benchmark.chart import draw_report

    folder.mkdir(parents=True, exist_ok=True)
    name = f"{report.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    text = json.dumps(report.to_json(), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    draw_report(report).save(folder / f"{name}.svg")
