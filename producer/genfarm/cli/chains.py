"""`genfarm chains`: items through several stages, written in a TOML file.

[[stage]]
kind = "text-to-image"
prompt = "a drawing of {input}"
times = 4

[[stage]]
kind = "image-classification"

[[stage]]
best = "score"
"""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genfarm.cli.words import (
    AsJson,
    Exit,
    Home,
    WhichTasks,
    emit,
    read_which,
    say,
    show_table,
    write,
)

if TYPE_CHECKING:
    from genfarm.chain import Chain
    from genfarm.stages import Best, Stage

app = typer.Typer(help="Run items through several stages, each batched.", no_args_is_help=True)

ChainName = Annotated[str, typer.Argument(metavar="CHAIN", help="Id or name of a chain.")]
COLUMNS = ("stage", "job", "kind", "model", "total", "succeeded", "failed", "open")


@app.command("run")
def run_chain(  # noqa: PLR0913, PLR0917  # one parameter an option
    stages: Annotated[Path, typer.Argument(metavar="STAGES.toml", exists=True, dir_okay=False)],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...|FILE|-", help="As for `genfarm run`.")
    ],
    name: Annotated[str | None, typer.Option(help="The same name again attaches.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Item i has this plus i.")] = 0,
    timeout: Annotated[float | None, typer.Option(min=0.0, help="Seconds to wait.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Have every input pass the stages of a file, and wait. Ctrl-C lets go; the chain goes on."""
    from genfarm import Farm

    read = read_stages(stages)
    given = _inputs(read, inputs)
    with Farm(home=home) as farm:
        chain = farm.chain(read, given, name=name, seed=seed)
        say(f"chain {chain.id}  {' > '.join(chain.stages)}")
        if detach:
            emit({"id": chain.id, "name": chain.name}) if as_json else write(chain.id)
            return
        raise typer.Exit(_follow(chain, timeout, as_json=as_json))


@app.command("ls")
def list_all(
    limit: Annotated[int, typer.Option("-n", min=1, help="How many, the newest first.")] = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the newest chains."""
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        found = store.list_chains(limit)
    records: list[dict[str, Any]] = [
        {
            "id": chain.id,
            "name": chain.name,
            "stages": [step.name for step in chain.plan.steps],
            "state": "ended" if chain.ended_at else "cancelled" if chain.cancelled else "running",
            "created_at": chain.created_at,
        }
        for chain in found
    ]
    if as_json:
        emit(records)
    else:
        rows = [(r["id"], r["name"], " > ".join(r["stages"]), r["state"]) for r in records]
        show_table(("chain", "name", "stages", "state"), rows)


@app.command("show")
def show_one(chain: ChainName, home: Home = None, as_json: AsJson = False) -> None:
    """Say how each stage stands. `genfarm results JOB` gives what a stage brought."""
    from genfarm.cli.records import job_record
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        found = store.find_chain(chain)
        counts = store.count(found.job_ids)
        records = [
            {"stage": step.name, **job_record(store.find_job(job_id), counts[job_id])}
            for step, job_id in zip(found.plan.steps, found.job_ids, strict=True)
        ]
    if as_json:
        emit({"id": found.id, "name": found.name, "stages": records})
    else:
        names = ("stage", "id", *COLUMNS[2:])
        show_table(COLUMNS, [[record[name] for name in names] for record in records])


@app.command("cancel")
def cancel_chain(chain: ChainName, home: Home = None, as_json: AsJson = False) -> None:
    """Withdraw what has not ended, in every stage."""
    from genfarm import Farm

    with Farm(home=home) as farm:
        number = farm.find_chain(chain).cancel()
    emit({"chain": chain, "cancelled": number}) if as_json else say(f"{number} tasks cancelled")


@app.command("retry")
def retry_chain(
    chain: ChainName,
    which: WhichTasks = "failed",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run tasks without result again, and what they kept from running."""
    from genfarm import Farm

    tasks = read_which(which)
    with Farm(home=home) as farm:
        number = farm.find_chain(chain).retry(tasks)
    emit({"chain": chain, "retried": number}) if as_json else say(f"{number} tasks run again")


@app.command("rm")
def remove_chain(chain: ChainName, home: Home = None, as_json: AsJson = False) -> None:
    """Forget an ended chain with every stage. Its files stay in the artefact store."""
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        found = store.find_chain(chain)
        counts = store.count(found.job_ids)
        is_open = any(not state.is_terminal for count in counts.values() for state in count)
        if is_open or not (found.ended_at or found.cancelled):
            say(f"error: chain {chain} has not ended: `genfarm chains cancel {chain}` first")
            raise typer.Exit(Exit.INVALID)
        store.remove_chain(found)
    record = {"chain": found.id, "removed": True}
    emit(record) if as_json else say(f"chain {found.id} is forgotten")


def read_stages(path: Path) -> "list[Stage | Best]":
    """The stages that a file lists. Raises InvalidTask."""
    from genfarm_shared.errors import InvalidTask

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidTask(f"{path} is no TOML: {error}") from error
    stages = found.pop("stage", None)
    if found or not isinstance(stages, list):
        raise InvalidTask(f"{path}: expected [[stage]] tables and nothing else")
    return [_stage(path, number, table) for number, table in enumerate(stages, 1)]


def _stage(path: Path, number: int, table: Mapping[str, Any]) -> "Stage | Best":
    from genfarm.stages import Best, Stage
    from genfarm_shared.errors import InvalidTask

    values = dict(table)
    if "best" in values and not values.keys() - {"best", "name"}:
        return Best(values["best"], name=values.get("name"))
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or "best" in values:
        raise InvalidTask(
            f"{path}, stage {number}: expected a kind and its parameters, or best = 'score'"
        )
    return Stage(kind, **values)


def _inputs(stages: Sequence["Stage | Best"], given: Sequence[str]) -> Path | list[Any]:
    """What the words of the command line are to the first stage."""
    from genfarm.cli.run import read_inputs
    from genfarm.stages import Stage
    from genfarm_shared.kinds import find_kind

    if stages and isinstance(stages[0], Stage):
        return read_inputs(find_kind(stages[0].kind), given)
    return list(given)  # what is wrong with the stages is said where they are made a plan


def _follow(chain: "Chain", timeout: float | None, *, as_json: bool) -> int:
    from genfarm_shared.errors import ItemTimeout

    again = f"the chain goes on; `genfarm chains show {chain.name or chain.id}` says how it stands"
    try:
        chain.wait(timeout, progress=sys.stderr.isatty() and not as_json)
    except KeyboardInterrupt:
        say(f"\ndetached: {again}")
        return Exit.DETACHED
    except ItemTimeout:
        say(f"not ended after {timeout:g} s: {again}")
        return Exit.DETACHED
    for result in chain.results(ordered=True, errors="skip"):
        if as_json:
            emit({"custom_id": result.custom_id, "output": dict(result.output)})
        else:
            for text in result.texts:
                write(text)
    failed = chain.status().failed
    said = f"{len(chain) - failed} succeeded, {failed} failed"
    say(said + (f"; `genfarm chains retry {chain.id}` runs them again" if failed else ""))
    return Exit.FAILED_ITEMS if failed else Exit.OK
