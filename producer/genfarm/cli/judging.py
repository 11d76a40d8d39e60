"""`evaluate`: how good is what a job generated."""

from pathlib import Path
from typing import Annotated

import typer

from genfarm.cli.results import JobName
from genfarm.cli.words import AsJson, Home, emit, say, write


def add_to(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(  # noqa: PLR0913, PLR0917  # one parameter an option
    job: JobName,
    against: Annotated[
        str | None,
        typer.Option(help="What is real: `digits`, a folder of pictures, a file of texts."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Language model that judges texts.")
    ] = None,
    inception: Annotated[
        Path | None, typer.Option(help="Inception-v3 as safetensors, for FID as others have it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Picture of it, .svg or .png.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Judge what a job generated: FID, KID, agreement, perplexity, duplicates.

    genfarm evaluate sevens --against digits --out sevens.svg
    """
    if out is not None and out.suffix.lower() not in {".svg", ".png"}:
        raise typer.BadParameter(f"--out {out}: expected a name that ends in .svg or .png")
    from genfarm import Farm

    with Farm(home=home) as farm:
        found = farm.job(job).evaluate(against, model=model, inception=inception)
    if as_json:
        emit(found.to_json())
    else:
        write(repr(found))
    if out is not None:
        found.show().save(out)
        say(f"wrote {out}")
