"""`torture`, `audit` and `fsck`: proof that nothing was lost, doubled or damaged."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genfarm.cli.results import JobName
from genfarm.cli.teller import teller
from genfarm.cli.words import AsJson, Exit, Home, emit, say, show_table, write

if TYPE_CHECKING:
    from genfarm.audit import Statement
    from genfarm.fsck import Inspection
    from genfarm_shared.store import Store

#: Exit code of a proof that failed.
BROKEN = 1
#: Violations that people are shown; `--json` gives all.
LISTED = 50
#: Results from which a look through the files says how far it is, and how often.
MANY = 10_000
#: Seconds between two words about a run that nobody watches in a terminal.
QUARTER = 15.0
#: The rules that `audit` checks, in few words; `genfarm/audit.py` has them in full.
CHECKED = (
    ("I1", "every task has ended, and none is missing"),
    ("I2", "one result where a task succeeded, none elsewhere"),
    ("I4", "attempts without a gap, each ended, one after the other"),
    ("I5", "no way back from an end but a retry"),
    ("I6", "every file is there with its size and hash"),
    ("I7", "nothing cancelled shows a result"),
    ("I8", "attempts and verdicts within max_attempts {limit}"),
)


def add_to(app: typer.Typer) -> None:
    for command in (audit, fsck, torture):
        app.command()(command)


def torture(  # noqa: PLR0913  # one parameter an option
    *,
    seed: Annotated[int, typer.Option(min=0, help="The same seed asks and strikes alike.")] = 1,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long faults strike.")] = 60.0,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks that must end right.")] = 1200,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes, on the CPU.")] = 3,
    store: Annotated[
        str, typer.Option(help="sqlite, postgresql (a server of its own), or an empty one's URL.")
    ] = "sqlite",
    faults: Annotated[
        str, typer.Option(help="Names, comma-separated; else all. `list` shows them.")
    ] = "",
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder of the run; default: a dated new one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a farm, let faults strike while it works, and prove the books. Exit 1: broken."""
    if faults == "list":
        _list_faults(as_json=as_json)
        return
    from genfarm.torture.report import as_record, conclusion, ledger
    from genfarm.torture.run import Wish, keep, run_torture

    place = (home or _dated()).absolute()
    names = [name.strip() for name in faults.split(",") if name.strip()]
    wish = Wish(place, seed, seconds, tasks, workers, store, names)
    try:
        with _ended_by_term():
            tell = teller(QUARTER)
            report = run_torture(wish, tell)
            tell("")
    except KeyboardInterrupt:
        say("stopped: every process of it has ended; nothing was proven")
        raise typer.Exit(Exit.DETACHED) from None
    picture = keep(report)
    if as_json:
        emit(as_record(report))
    else:
        for line in ledger(report):
            write(line)
        write(f"picture {picture}")
        write(f"ledger  {picture.with_name('ledger.txt')}")
        write(conclusion(report))
    raise typer.Exit(Exit.OK if report.is_proven else BROKEN)


def audit(job: JobName, home: Home = None, as_json: AsJson = False) -> None:
    """Prove a job's books: every task, attempt, result and file. Exit 1: something is wrong.

    A job that still runs is proven as far as it has come.
    """
    from genfarm.audit import audit as prove
    from genfarm.cli.target import find_address
    from genfarm.fsck import Shelf
    from genfarm_shared.settings import Settings
    from genfarm_shared.store import Store

    address = find_address(home)
    store = Store(address.store)
    try:
        record = store.find_job(job)
        limit = Settings.load(home=home).max_attempts
        found = prove(store, Shelf(address.artifacts), record.id, limit, must_end=False)
    finally:
        store.close()
    if as_json:
        emit(_audit_record(found))
    else:
        _state(found, record.name)
    raise typer.Exit(BROKEN if found.breaches else Exit.OK)


def fsck(
    delete_orphans: Annotated[
        bool, typer.Option("--delete-orphans", help="Remove old files that no row names.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check that the file of every result is there and whole. Exit 1: one is not."""
    from genfarm.cli.target import find_address
    from genfarm.fsck import Shelf, check_files, sweep
    from genfarm_shared.store import Store

    address = find_address(home)
    store, shelf = Store(address.store), Shelf(address.artifacts)
    try:
        if delete_orphans:
            _refuse_beside_workers(store)
        found = check_files(store, shelf, _count_aloud)
        if delete_orphans:  # the look took its time
            _refuse_beside_workers(store)
        sweep(store, shelf, found, delete=delete_orphans)
    finally:
        store.close()
    if as_json:
        emit(_fsck_record(found))
    else:
        _show_files(found)
    raise typer.Exit(BROKEN if found.faults else Exit.OK)


def _refuse_beside_workers(store: "Store") -> None:
    """One of them may be recording the very bytes of an orphan under its name."""
    if store.list_workers():
        say("error: workers are up, and may name a file while it is deleted: end them first")
        raise typer.Exit(Exit.INVALID)


def _list_faults(*, as_json: bool) -> None:
    from genfarm.torture.faults import FAULTS

    rows = [(fault.name, fault.family, fault.said, fault.needs) for fault in FAULTS.values()]
    if as_json:
        names = ("name", "family", "said", "needs")
        emit([dict(zip(names, row, strict=True)) for row in rows])
    else:
        show_table(("fault", "family", "what it does", "needs"), rows)


def _dated() -> Path:
    from genfarm_shared.settings import Settings

    # With its pid, because two may start in the same second.
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    return Settings.load().home / "tortures" / name


@contextmanager
def _ended_by_term() -> Iterator[None]:
    """SIGTERM as Ctrl-C: what was started is ended on the way out."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _audit_record(found: "Statement") -> dict[str, object]:
    return {
        "job": found.job_id,
        "ok": not found.breaches,
        "total": found.total,
        "rows": found.rows,
        "open": found.open,
        "states": dict(sorted(found.states.items())),
        "attempts": dict(sorted(found.attempts.items())),
        "max_attempts": found.max_attempts,
        "retries": found.retries,
        "results": found.results,
        "artifacts": found.artifacts,
        "bytes": found.bytes,
        "violations": found.broken.total(),
        "breaches": [
            {"rule": b.rule, "subject": b.subject, "said": b.said, "harm": b.harm.value}
            for b in found.breaches
        ],
    }


def _state(found: "Statement", name: str | None) -> None:
    """A statement that people can read and keep."""
    called = f"{name} ({found.job_id})" if name else found.job_id
    states = ", ".join(f"{number} {state}" for state, number in sorted(found.states.items()))
    tries = ", ".join(f"{number} {how}" for how, number in sorted(found.attempts.items()))
    files = f"{found.artifacts}, {found.bytes:,} bytes, each read and hashed"
    inputs = "still being written" if found.total is None else found.total
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    write(f"Audit of job {called}, {at}")
    write(f"  inputs     {inputs}, and {_many(found.rows, 'row')}: {states or 'none'}")
    write(f"  attempts   {sum(found.attempts.values())}: {tries or 'none'}")
    write(f"  retries    {found.retries} asked for by a person")
    write(f"  results    {found.results}, one at most for each task")
    write(f"  files      {files if found.artifacts else 'none'}")
    for rule, what in CHECKED:
        said = what.format(limit=found.max_attempts)
        write(f"  {rule}  {said:58} {_holds(found, rule)}")
    for breach in found.breaches[:LISTED]:
        write(f"VIOLATION {breach.rule} {breach.subject}: {breach.said}")
    if found.broken.total() > LISTED:
        write(f"and {found.broken.total() - LISTED} more; --json gives the first thousand")
    if found.total is None:
        write("its inputs are still being written: audit again when the job has ended")
    elif found.open:
        verb = "has" if found.open == 1 else "have"
        write(
            f"{found.open} of {found.rows} {verb} not ended yet: audit again when the job has ended"
        )


def _holds(found: "Statement", rule: str) -> str:
    if found.broken[rule]:
        return f"{_many(found.broken[rule], 'VIOLATION', 'S')}"
    return "not yet" if rule == "I1" and _is_going(found) else "holds"


def _is_going(found: "Statement") -> bool:
    return bool(found.open) or found.total is None


def _fsck_record(found: "Inspection") -> dict[str, object]:
    from dataclasses import asdict

    faults = [{"task": task, "said": said} for task, said in found.faults]
    return {"ok": not faults} | asdict(found) | {"faults": faults}


def _show_files(found: "Inspection") -> None:
    if found.faults:
        tasks = _many(len({task for task, _ in found.faults}), "task")
        write(f"DAMAGED: {_many(len(found.faults), 'fault')} in files of {tasks}")
    else:
        write("SOUND: every file that a result names is there and whole")
    write(
        f"{_many(found.results, 'result')} with {_many(found.files, 'file')}, {found.bytes:,} bytes"
    )
    for task_id, said in found.faults[:LISTED]:
        write(f"DAMAGED {task_id}: {said}")
    if len(found.faults) > LISTED:
        write(f"and {len(found.faults) - LISTED} more; --json gives all")
    _show_idle(found)


def _show_idle(found: "Inspection") -> None:
    """What no row names; nothing where there is none."""
    kinds = ((found.orphans, "whole file"), (found.halves, "half-written file"))
    idle = [_many(number, what) for number, what in kinds if number]
    if idle:
        done = "deleted" if found.deleted else "--delete-orphans removes them"
        said = f"{' and '.join(idle)} of no result, {found.idle_bytes:,} bytes"
        write(f"{said}, older than an hour: {done}")
    if found.foreign:
        write(f"{_many(found.foreign, 'file')} that no worker wrote: left alone")


def _many(number: int, one: str, plural: str = "s") -> str:
    return f"{number:,} {one}{'' if number == 1 else plural}"


def _count_aloud(results: int) -> None:
    if results >= MANY and results % MANY < 1000:
        say(f"{results:,} results")
