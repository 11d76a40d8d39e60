"""The command line: `genfarm`.

Data goes to stdout, words for people to stderr. Commands import what they need
when they run, so that `genfarm --help` costs nothing and loads no torch.
Exit codes: 0 ok, 1 stopped by Ctrl-C before anything was submitted or a proof
that failed, 2 usage or invalid input, 3 finished with failed items, 4 not
found, 5 cannot connect, 130 detached from a job that goes on, or Ctrl-C in a
command that only looks.
"""

from collections.abc import Sequence

import typer

from genfarm.cli import (
    bench,
    care,
    chains,
    deadletters,
    embedded,
    jobs,
    judging,
    metrics,
    nodes,
    proofs,
    proving,
    results,
    run,
    tour,
    variants,
)
from genfarm.cli.words import Exit, exit_code, say

app = typer.Typer(
    name="genfarm",
    help="A generation farm: bulk text and image jobs on batching workers, each recorded once.",
    epilog="Begin with `genfarm demo`; or `genfarm up` in one terminal, `genfarm run` in another.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (embedded, run, results, judging, proving, proofs, bench, tour, care, metrics):
    room.add_to(app)
variants.add_to(nodes.models)
app.add_typer(jobs.app, name="jobs")
app.add_typer(chains.app, name="chains")
app.add_typer(nodes.models, name="models")
app.add_typer(nodes.workers, name="workers")
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(care.config, name="config")
app.add_typer(care.db, name="db")


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    from genfarm_shared.errors import GenfarmError

    try:
        app(args=list(args) if args is not None else None, prog_name="genfarm")
    except GenfarmError as error:
        say(f"error: {error}")
        return exit_code(error)
    except OSError as error:  # a file or folder that the user named
        say(f"error: {error}")
        return Exit.INVALID
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
