"""`genfarm deadletters`: messages that no worker could use; look at them, put them back, delete.

They hold ids, never a prompt; what is shown of one is escaped.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genfarm.cli.words import AsJson, Exit, Home, ago, emit, say, show_table, write

if TYPE_CHECKING:
    from genfarm_shared.messages import DeadLetter
    from genfarm_shared.store import Store
    from genfarm_shared.tasks import Hint

app = typer.Typer(help="Messages that no worker could use.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids, as `genfarm deadletters ls` gives.")]
#: Letters that are read, put back and marked at once; at most 32 MB of them.
PAGE = 500
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command("ls")
def list_letters(
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 50,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the newest dead letters, each with why it was refused."""
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        letters = store.list_letters(limit)
    if as_json:
        emit([_record(letter) for letter in letters])
        return
    if not letters:
        say("none")
        return
    now = time.time()
    rows = [
        (x.id, ago(x.at, now), x.source, x.reason, x.size, _back(x, now), x.head[:60])
        for x in letters
    ]
    show_table(("id", "age", "source", "reason", "bytes", "put back", "head"), rows)


@app.command("show")
def show_letter(
    letter_id: Annotated[int, typer.Argument(metavar="ID", help="Its id.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one dead letter, and its beginning."""
    from genfarm.cli.target import open_store

    with open_store(home) as store:
        (letter,) = store.read_letters([letter_id])
    if as_json:
        emit(_record(letter))
        return
    for name, value in _record(letter).items():
        write(f"{name:12} {'' if value is None else value}")


@app.command()
def replay(
    ids: Ids = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every letter that has not been put back.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into their queues, those that a worker could use by now.

    Each is checked again: what would be refused again stays, with the reason.
    """
    from genfarm.cli.target import find_broker
    from genfarm_shared.queue import Broker
    from genfarm_shared.store import Store

    _need_choice(ids, everything)
    address = find_broker(home)
    store, broker = Store(address.store), Broker(address.broker)
    refused: list[dict[str, Any]] = []
    replayed: list[int] = []
    try:
        models = {m["key"] for w in store.list_workers() for m in w.models}
        for letters in _pages(store, ids):
            good, bad = _sort(letters, models)
            broker.push([(hint, letter.body or b"") for letter, hint in good])
            store.mark_replayed([letter.id for letter, _ in good])
            replayed += [letter.id for letter, _ in good]
            refused += bad
    finally:
        store.close()
        broker.close()
    _tell(replayed, refused, as_json=as_json)
    raise typer.Exit(Exit.INVALID if refused else Exit.OK)


@app.command()
def purge(
    older: Annotated[str, typer.Option(help="Those older than this: 90s, 30m, 12h, 7d.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every one.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good."""
    from genfarm.cli.target import open_store

    if bool(older) == everything:
        raise typer.BadParameter("say which: --older 7d, or --all")
    seconds = _seconds(older) if older else None
    with open_store(home) as store:
        purged = store.purge_letters(older_than=seconds)
    if as_json:
        emit({"purged": purged})
    else:
        say(f"{purged} dead letters deleted")


def _pages(store: "Store", ids: Sequence[int] | None) -> Iterator[list["DeadLetter"]]:
    if ids:
        yield store.read_letters(ids)
        return
    last = 0
    while page := store.unreplayed_after(last, PAGE):
        yield page
        last = page[-1].id


def _sort(
    letters: Sequence["DeadLetter"], models: set[str]
) -> tuple[list[tuple["DeadLetter", "Hint"]], list[dict[str, Any]]]:
    """Those that a living worker would take, with their hints; the others, with the reasons."""
    from genfarm_shared.messages import Refused, open_message, read_hint

    good, bad = [], []
    for letter in letters:
        try:
            hint = read_hint(open_message(letter.body or b"", letter.size))
            if hint.model not in models:
                raise Refused("unknown_model")
            good.append((letter, hint))
        except Refused as refused:
            bad.append({"id": letter.id, "reason": refused.reason})
    return good, bad


def _tell(replayed: Sequence[int], refused: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        emit({"replayed": replayed, "refused": refused})
        return
    say(f"{len(replayed)} put back into their queues")
    for one in refused:
        hint = ": no living worker serves it" if one["reason"] == "unknown_model" else ""
        say(f"{one['id']} would be refused again: {one['reason']}{hint}")


def _need_choice(ids: Sequence[int] | None, everything: bool) -> None:
    if bool(ids) == everything:
        raise typer.BadParameter("say which: their ids, or --all")


def _seconds(age: str) -> float:
    number, unit = age[:-1], age[-1:]
    if unit not in UNITS or not number.isdecimal():
        raise typer.BadParameter(f"--older {age!r}: expected a number and s, m, h or d, as in 7d")
    return float(number) * UNITS[unit]


def _back(letter: "DeadLetter", now: float) -> str:
    return "" if letter.replayed_at is None else f"{ago(letter.replayed_at, now)} ago"


def _record(letter: "DeadLetter") -> dict[str, Any]:
    """A letter for programs: the body is left out, its beginning says enough."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(letter).items() if name != "body"}
