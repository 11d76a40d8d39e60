"""`genfarm jobs`: look at jobs, follow them, and say a later word about them."""

from typing import Annotated

import typer

from genfarm.cli.results import JobName
from genfarm.cli.words import AsJson, Exit, Home, WhichTasks, emit, read_which, say, show_table

app = typer.Typer(help="List, follow, cancel, retry and remove jobs.", no_args_is_help=True)


@app.command("ls")
def list_jobs(
    limit: Annotated[int, typer.Option("-n", min=1, help="How many, the newest first.")] = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs."""
    from genfarm.cli.records import COLUMNS, job_record, job_row
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        found = store.list_jobs(limit)
        counts = store.count([job.id for job in found]) if found else {}
    records = [job_record(job, counts[job.id]) for job in found]
    if as_json:
        emit(records)
    else:
        show_table(COLUMNS, map(job_row, records))


@app.command("show")
def show_job(job: JobName, home: Home = None, as_json: AsJson = False) -> None:
    """Say how a job stands."""
    from genfarm.cli.records import read_job
    from genfarm.cli.target import open_store
    from genfarm_shared.goodput import Goodput, spell_goodput

    with open_store(home) as store:
        record = read_job(store, job)
    if as_json:
        emit(record)
    else:
        goodput = spell_goodput(Goodput.from_json(record["goodput"]))
        show_table(("", ""), (record | {"goodput": goodput}).items())


@app.command()
def watch(
    job: JobName,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds to wait; the job goes on after.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job until it ends. Ctrl-C lets go of it; it goes on."""
    from genfarm import Farm
    from genfarm.cli.run import follow, letting_go

    with Farm(home=home) as farm:
        found = farm.job(job)
        with letting_go(found, home):
            code = follow(found, timeout, home, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def cancel(job: JobName, home: Home = None, as_json: AsJson = False) -> None:
    """Withdraw what has not ended."""
    from genfarm import Farm

    with Farm(home=home) as farm:
        number = farm.job(job).cancel()
    _tell({"job": job, "cancelled": number}, f"{number} tasks cancelled", as_json)


@app.command()
def retry(
    job: JobName,
    which: WhichTasks = "failed",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run tasks without result again, as new attempts."""
    from genfarm import Farm

    tasks = read_which(which)
    with Farm(home=home) as farm:
        number = farm.job(job).retry(tasks)
    _tell({"job": job, "retried": number}, f"{number} tasks run again", as_json)


@app.command("rm")
def remove(job: JobName, home: Home = None, as_json: AsJson = False) -> None:
    """Forget an ended job with its results. Its files stay in the artefact store."""
    from genfarm.cli.records import read_job
    from genfarm.cli.target import open_store
    from genfarm_shared.chains import chain_of, is_stage

    with open_store(home) as store:
        record = read_job(store, job)
        if is_stage(record["id"]):
            chain = chain_of(record["id"])
            say(
                f"error: job {job} is a stage of the chain {chain}: "
                f"`genfarm chains rm {chain}` forgets all of it"
            )
            raise typer.Exit(Exit.INVALID)
        if record["open"]:
            say(
                f"error: job {job} has {record['open']} tasks that have not ended: "
                f"`genfarm jobs cancel {job}` first"
            )
            raise typer.Exit(Exit.INVALID)
        store.remove(record["id"])
    _tell({"job": record["id"], "removed": True}, f"job {record['id']} is forgotten", as_json)


def _tell(record: dict[str, object], words: str, as_json: bool) -> None:
    if as_json:
        emit(record)
    else:
        say(words)
