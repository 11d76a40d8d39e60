"""`verify` and `replay`: is it what the farm made, and does the farm make it again?"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genfarm.cli.words import AsJson, Exit, Home, emit, plain, say, write

if TYPE_CHECKING:
    from genfarm.link import Link
    from genfarm_shared.provenance import Proof


def add_to(app: typer.Typer) -> None:
    for command in (verify, replay):
        app.command()(command)


def verify(
    made: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Files, or ids of tasks.")
    ] = None,
    show_key: Annotated[bool, typer.Option("--key", help="Print the keys that are known.")] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Believe this public key, or file, instead of the farm."),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say who signed files and how they were made, or which check failed.

    One changed byte or parameter fails. Exit code 1 when any check failed. What a file that
    failed says of itself is not shown; --json has it, for what it is worth.
    """
    from genfarm.proving import known_keys, prove, read_key
    from genfarm_shared.settings import Settings

    link = _link(home)
    settings = Settings.load(home=home)
    keys = [*map(read_key, trust)] if trust else known_keys(link, settings.signing_path)
    if show_key:
        emit(keys) if as_json else write("\n".join(keys) or "none")
    if not made and not show_key:
        raise typer.BadParameter("name at least one file, or --key", param_hint="FILE")
    proofs = [(name, prove(link, name, keys)) for name in made or ()]
    if as_json and proofs:
        emit([_record(name, proof) for name, proof in proofs])
    for name, proof in () if as_json else proofs:
        write(plain(f"{'ok  ' if proof.ok else 'FAIL'} {name}: {proof.said}"))
        # What a file that failed says of itself may be anybody's words: --json has it.
        for line in _lines(proof.facts) if proof.ok else ():
            write(plain(f"     {line}"))
    raise typer.Exit(Exit.OK if all(proof.ok for _, proof in proofs) else Exit.STOPPED)


def replay(
    made: Annotated[str, typer.Argument(metavar="ITEM", help="Id of a task, or a file.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the new files.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run a task again with the same parameters, seed and model, and compare the bytes.

    Exit code 1 when they differ, with what else differs: model, versions, batch size.
    """
    from genfarm import Farm

    with Farm(home=home, progress=False) as farm:
        found = farm.replay(made)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for place, artifact in enumerate(found.result.artifacts):
                path = out / f"{place:03d}{Path(artifact.name).suffix}"
                path.write_bytes(found.result.read(artifact))
                say(f"wrote {path}")
    if as_json:
        changed = {name: list(pair) for name, pair in found.differs.items()}
        emit({"item": made, "same": found.same, "said": found.said, "differs": changed})
    else:
        write(plain(f"{made}: {found.said}"))
        for name, (before, now) in found.differs.items():
            write(plain(f"     {name}: {before} before, {now} now"))
    raise typer.Exit(Exit.OK if found.same else Exit.STOPPED)


def _link(home: Path | None) -> "Link | None":
    """The farm to ask, None where there is none: a file can be verified without."""
    from genfarm.link import Link, locate
    from genfarm_shared.errors import Unreachable

    try:
        return Link(locate(None, None, None, home))
    except Unreachable:
        return None


def _record(name: str, proof: "Proof") -> dict[str, Any]:
    said = {"file": name, "ok": proof.ok, "said": proof.said}
    return {**said, "key": proof.key, "facts": dict(proof.facts)}


def _lines(facts: Mapping[str, Any], ahead: str = "") -> list[str]:
    """One line a fact, those within others by their path."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{ahead}{name}.")
        elif name not in ("v", "key"):
            lines.append(f"{ahead}{name:16} {value}")
    return lines
