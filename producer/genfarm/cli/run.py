"""`genfarm run`: submit a job from the shell, follow it, and take what it brings."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genfarm.cli.live import show
from genfarm.cli.words import AsJson, Exit, Home, emit, say, write

if TYPE_CHECKING:
    from genfarm.job import Job
    from genfarm_shared.kinds import Kind


def add_to(app: typer.Typer) -> None:
    app.command()(run)


def run(  # noqa: PLR0913, PLR0917  # one parameter an option
    kind: Annotated[str, typer.Argument(help="text-generation, text-to-image, sleep, ...")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT...|FILE|-]", help="Inputs, a .txt/.jsonl/.csv, or stdin."),
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Registry key.")] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="For every input."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The same name again attaches.")] = None,
    out: Annotated[Path | None, typer.Option("-o", help="A folder, or a .jsonl file.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.0, help="Seconds to wait.")] = None,
    wait_for_room: Annotated[
        bool, typer.Option("--wait-for-room", help="Wait while the farm is full.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show one input's text, or its steps, as they come.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Submit inputs as one job and wait for it. Ctrl-C lets go; the job goes on.

    genfarm run text-to-image "a handwritten seven" -p seed=3 -o sevens/
    """
    from genfarm import Farm
    from genfarm_shared.kinds import find_kind

    wanted = find_kind(kind)
    with ExitStack() as doors:
        with _nothing_submitted():
            values, given = _params(params or []), read_inputs(wanted, inputs or [])
            _check_stream(given, stream=stream, alone=not (detach or as_json))
            farm = doors.enter_context(Farm(home=home))
            full: Literal["wait", "raise"] = "wait" if wait_for_room else "raise"
            job = farm.submit_many(
                wanted.name, given, model=model, params=values, name=name, when_full=full
            )
        named = f"job {job.id}  {wanted.name} · {job.model}"
        if detach:
            return _tell(job, named, as_json=as_json)
        with letting_go(job, home):
            say(named)
            is_told = stream and show(job[0], wanted.name, timeout)
            code = follow(job, timeout, home, as_json=False, quiet=as_json or stream)
            _deliver(job, out, home, as_json=as_json, is_told=is_told)
        raise typer.Exit(code)


def _tell(job: "Job", named: str, *, as_json: bool) -> None:
    say(named)
    if as_json:
        emit({"id": job.id, "name": job.name})
    else:
        write(job.id)


@contextmanager
def _nothing_submitted() -> Iterator[None]:
    """Ctrl-C while inputs are read and written down ends the command, and no job goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say("\nstopped; nothing was submitted")
        raise typer.Exit(Exit.STOPPED) from None


@contextmanager
def letting_go(job: "Job", home: Path | None) -> Iterator[None]:
    """Ctrl-C, or the end of one's patience, ends the command and not the job."""
    from genfarm_shared.errors import ItemTimeout

    again = f"genfarm jobs watch {job.name or job.id}" + (f" --home {home}" if home else "")
    try:
        yield
    except KeyboardInterrupt:
        say(f"\ndetached: the job goes on; `{again}` follows it again")
        raise typer.Exit(Exit.DETACHED) from None
    except ItemTimeout as error:
        say(f"{error}; `{again}` follows it again")
        raise typer.Exit(Exit.DETACHED) from None


def follow(
    job: "Job", timeout: float | None, home: Path | None, *, as_json: bool, quiet: bool = False
) -> int:
    """Wait for a job with a progress bar; returns the exit code that says how it ended."""
    from genfarm.cli.records import read_job
    from genfarm.cli.target import open_store
    from genfarm.retrying import retry_word
    from genfarm_shared.tasks import State

    job.wait(timeout, progress=sys.stderr.isatty() and not quiet)
    with open_store(home) as store:
        record = read_job(store, job.id)
    if as_json:
        emit(record)
    say(f"{record['succeeded']} succeeded, {record['failed']} failed")
    if record["failed"]:
        word = retry_word({State(name): number for name, number in record["states"].items()})
        again = f"genfarm jobs retry {job.id}" + " all" * (word == "all")
        say(f"`genfarm results {job.id} --errors` says why; `{again}` runs them again")
    return Exit.FAILED_ITEMS if record["failed"] else Exit.OK


def save(job: "Job", dest: Path, *, overwrite: bool) -> Path:
    """As `Job.save`; a place that is taken is told in words of the command line."""
    try:
        return job.save(dest, overwrite=overwrite)
    except FileExistsError as error:
        # Python's advice inside the message, as this shell would follow it.
        advice = f"`genfarm export {job.id} {dest} --overwrite` replaces it"
        raise FileExistsError(str(error).replace("pass overwrite=True", advice)) from error


def _deliver(
    job: "Job", out: Path | None, home: Path | None, *, as_json: bool, is_told: bool = False
) -> None:
    """The results: into a folder, into a file of JSON lines, or onto stdout, where the first
    text may have been told already."""
    if out is not None:
        say(f"wrote {save(job, out, overwrite=False)}")
        return
    from genfarm.cli.records import read_all, result_record
    from genfarm.cli.target import open_store

    files = 0
    with open_store(home) as store:
        for task in read_all(store, job.id):
            files += len(task.artifacts)
            if as_json:
                emit(result_record(task))
            else:
                _print_output(task.output, is_told=is_told)
    if files and not as_json:
        say(f"{files} files: `genfarm show {job.id}` or `genfarm export {job.id} DIR`")


def _print_output(output: Any, *, is_told: bool) -> None:
    """Texts and labels as they are; numbers as JSON; files stay where they are until exported."""
    found = output or {}
    for text in found.get("texts", ())[is_told:]:
        write(text)
    labels = [one for one in found.get("labels", ()) if isinstance(one, dict)]
    if labels:
        write("\t".join(f"{one['label']} {one['score']:.3f}" for one in labels))
    for name in ("values", "embedding"):
        if name in found:
            emit(found[name])


def _check_stream(given: Path | list[Any], *, stream: bool, alone: bool) -> None:
    if stream and not alone:
        hint = "it shows what comes as it comes: leave out --json and --detach"
        raise typer.BadParameter(hint, param_hint="--stream")
    if stream and (isinstance(given, Path) or len(given) != 1):
        hint = "it follows one input, written on the command line; leave it out for more"
        raise typer.BadParameter(hint, param_hint="--stream")


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    split = [pair.partition("=") for pair in pairs]
    for key, equals, _ in split:
        if not key or not equals:
            raise typer.BadParameter(f"{key!r}: expected key=value", param_hint="-p")
    return {key: _value(text) for key, _, text in split}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_inputs(kind: "Kind", given: Sequence[str]) -> Path | list[Any]:
    """Inputs of that kind from the words of a command line. Raises BadParameter."""
    main = kind.params.model_fields[kind.params.main]
    if not given:
        if main.is_required():
            hint = f"{kind.name} needs inputs: write them, name a file, or `-` for stdin"
            raise typer.BadParameter(hint)
        return [{}]
    if kind.params.files and (found := _pictures(kind, given)):
        return found
    if file := _file(given):
        return file
    lines = [line.rstrip("\r\n") for line in sys.stdin] if list(given) == ["-"] else list(given)
    return [line if main.annotation is str else _value(line) for line in lines if line.strip()]


def _pictures(kind: "Kind", given: Sequence[str]) -> Path | list[Any]:
    """A folder, or paths of pictures; empty where the inputs are something else."""
    from genfarm.files import PICTURES

    if len(given) == 1 and Path(given[0]).is_dir():
        return Path(given[0])
    is_only = kind.params.main in kind.params.files
    are = [Path(text).suffix.lower() in PICTURES for text in given]
    return [Path(text) for text in given] if all(are) and (is_only or _is_there(given[0])) else []


def _file(given: Sequence[str]) -> Path | None:
    """The one file among the inputs; files that would pass for prompts are refused."""
    from genfarm.batchfile import SUFFIXES

    known = ", ".join(SUFFIXES)
    for text in given:
        if not text.endswith(SUFFIXES) and Path(text).suffix and _is_there(text):
            raise typer.BadParameter(f"{text} is a file of no known kind; expected one of {known}")
    files = [text for text in given if text.endswith(SUFFIXES)]
    if files and len(given) > 1:
        raise typer.BadParameter(f"{files[0]} is a file: name one file and no other input")
    return Path(files[0]) if files else None


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # a prompt longer than any path
        return False
