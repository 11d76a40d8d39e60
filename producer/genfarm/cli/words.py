"""What the commands say: data as JSON or tables on stdout, sentences on stderr."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from genfarm.retrying import Which

Home = Annotated[Path | None, typer.Option("--home", help="Folder of the farm; else GENFARM_HOME.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
WhichTasks = Annotated[str, typer.Argument(help="failed, cancelled or all")]


class Exit(IntEnum):
    """What the exit codes mean."""

    OK = 0
    #: Ctrl-C ended the command, and no job goes on for it.
    STOPPED = 1
    #: Wrong usage or input; nothing was submitted.
    INVALID = 2
    #: The job ended and some of its items have no result.
    FAILED_ITEMS = 3
    #: No such job, task or model.
    NOT_FOUND = 4
    #: The farm, its store or its broker cannot be reached, or a package is missing.
    UNREACHABLE = 5
    #: The command let go of a job that goes on.
    DETACHED = 130


def exit_code(error: Exception) -> int:
    """The exit code that says what kind of error it was."""
    from genfarm_shared import errors

    if isinstance(error, errors.NotFound):
        return Exit.NOT_FOUND
    if isinstance(error, errors.Unreachable | errors.MissingExtra | errors.ModelUnavailable):
        return Exit.UNREACHABLE
    if isinstance(error, errors.ItemError):
        return Exit.FAILED_ITEMS
    return Exit.INVALID


def read_which(word: str) -> "Which":
    """Which tasks are to run again. Raises BadParameter."""
    from genfarm.retrying import RETRIED

    if word not in RETRIED:
        raise typer.BadParameter(f"{word!r}: expected failed, cancelled or all")
    return cast("Which", word)


def say(words: str) -> None:
    """One line for people."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def emit(record: Mapping[str, Any] | Sequence[Any]) -> None:
    """One line of JSON."""
    line = json.dumps(record, ensure_ascii=False, default=str)
    # Half a surrogate pair, which no stream takes, becomes the escape that JSON has for it.
    write(line.encode(errors="backslashreplace").decode())


def write(line: str, end: str = "\n") -> None:
    """One line of data. A reader that has gone (`| head`) ends the command in peace."""
    try:
        sys.stdout.write(line + end)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def plain(text: str) -> str:
    """One line that stays one and moves no cursor, whoever wrote it: other signs as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows for people, on stdout because they are the answer."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else _plain(cell) for cell in row))
    # Cut to a terminal's width only when there is one: pipes get whole cells.
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(table)


def ago(then: float, now: float) -> str:
    """`12 s`, `5 min`, `3 h` or `2 d` between two times."""
    seconds = max(0.0, now - then)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _plain(cell: object) -> str:
    from rich.markup import escape

    return escape(str(cell))
