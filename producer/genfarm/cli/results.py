"""`results`, `export` and `show`: what a job brought."""

from pathlib import Path
from typing import Annotated

import typer

from genfarm.cli.words import AsJson, Home, emit, say, write

JobName = Annotated[str, typer.Argument(metavar="JOB", help="Id or name of a job.")]


def add_to(app: typer.Typer) -> None:
    for command in (results, export, show):
        app.command()(command)


def results(
    job: JobName,
    errors: Annotated[bool, typer.Option("--errors", help="Only tasks without result.")] = False,
    home: Home = None,
    as_json: AsJson = True,
) -> None:
    """Write one JSON line a task that has ended, in the order asked for."""
    from genfarm.cli.records import read_all, result_record
    from genfarm.cli.target import open_store
    from genfarm_shared.tasks import State

    del as_json  # this command knows no other form; the flag is there for uniformity
    with open_store(home) as store:
        found = store.find_job(job)
        for task in read_all(store, found.id):
            succeeded = task.state is State.SUCCEEDED
            if task.state.is_terminal and not (errors and succeeded):
                emit(result_record(task))


def export(
    job: JobName,
    dest: Annotated[Path, typer.Argument(help="Folder to write into.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Copy a job's pictures and texts into a folder, with a metadata file beside them."""
    from genfarm import Farm
    from genfarm.cli.run import letting_go, save

    with Farm(home=home) as farm:
        found = farm.job(job)
        if not found.status().is_done:
            say(f"job {found.name or found.id} still runs: waiting for its end")
        with letting_go(found, home):
            place = save(found, dest, overwrite=overwrite)
    if as_json:
        emit({"job": job, "path": str(place)})
    else:
        write(str(place))


def show(
    job: JobName,
    number: Annotated[int, typer.Option("-n", min=1, help="Results to show.")] = 64,
    out: Annotated[
        Path | None, typer.Option("-o", help="Where to write the sheet; else sheet.png.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Draw the job's first pictures on one sheet; texts and numbers are listed."""
    from PIL.Image import Image

    from genfarm import Farm

    with Farm(home=home) as farm:
        sheet = farm.job(job).show(number)
    if not isinstance(sheet, Image):
        if out is not None:
            raise typer.BadParameter(
                f"job {job} has no pictures for a sheet; `genfarm export {job} DIR` writes its "
                "results",
                param_hint="-o",
            )
        if as_json:
            rows = [dict(zip(sheet.head, row, strict=True)) for row in sheet.rows]
            emit({"job": job, "results": rows})
        else:
            write(str(sheet))
        return
    place = out or Path("sheet.png")
    sheet.save(place)
    if as_json:
        emit({"job": job, "path": str(place), "width": sheet.width, "height": sheet.height})
    else:
        write(str(place))
        say(f"{sheet.width}x{sheet.height} pixels")
