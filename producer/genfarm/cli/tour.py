"""`genfarm tour`: every system of the field once through a farm."""

from pathlib import Path
from typing import Annotated

import typer

from genfarm.cli.words import AsJson, Exit, Home, emit, say, write


def add_to(app: typer.Typer) -> None:
    app.command()(tour)


def tour(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the page.")] = Path("tour"),
    count: Annotated[int, typer.Option("-n", min=1, help="Items of each system.")] = 40,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run one job of every system that workers serve, and write a page of what came of it.

    It starts a farm where none is up, and ends it.
    """
    from genfarm import Farm
    from genfarm.tour import run_tour
    from genfarm.tour_page import write_page

    with Farm.local(home=home, flower=False, progress=False) as farm:
        everything = run_tour(farm, count, say)
        page = write_page(everything, out)
    if as_json:
        emit(
            [
                {
                    "system": seen.stop.system,
                    "kind": seen.stop.kind,
                    "model": seen.stop.model,
                    "succeeded": seen.succeeded,
                    "total": seen.total,
                    "items_per_second": seen.rate,
                }
                for seen in everything
            ]
        )
    else:
        write(str(page))
    is_whole = all(seen.total and seen.succeeded == seen.total for seen in everything)
    raise typer.Exit(Exit.OK if is_whole else Exit.FAILED_ITEMS)
