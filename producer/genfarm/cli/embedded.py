"""`up`, `down`, `status`, `demo`, `worker` and `flower`: what runs a farm."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genfarm.cli.words import AsJson, Exit, Home, emit, say, show_table, write

if TYPE_CHECKING:
    from genfarm.runfile import RunningFarm

#: Seconds between two looks at a farm that a person keeps up.
LOOK_EVERY = 0.5

Workers = Annotated[str, typer.Option("--workers", help="How many, or auto: one a GPU, else two.")]
NoFlower = Annotated[bool, typer.Option("--no-flower", help="Start without Flower.")]


def add_to(app: typer.Typer) -> None:
    for command in (demo, up, down, status, worker, flower):
        app.command()(command)


def demo(  # one parameter an option
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder for the demo; default: a dated new one.")
    ] = None,
    items: Annotated[int, typer.Option(min=2, help="Pictures, and as many texts.")] = 500,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long a sleep task sleeps.")] = 2.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the farm up afterwards.")] = False,
    no_flower: NoFlower = False,
    as_json: AsJson = False,
) -> None:
    """Start a farm, make pictures and texts, kill a worker half-way, and count."""
    from genfarm import local
    from genfarm.demo import Plan, run_demo
    from genfarm.demo_report import as_record, print_summary

    plan = Plan(home=home, items=items, seconds=seconds, keep=keep, with_flower=not no_flower)
    try:
        figures = run_demo(plan, say)
    except KeyboardInterrupt:
        is_up = home is not None and local.running(home) is not None
        ending = "was up before and stays up" if is_up else "is down"
        say(f"stopped: the demo's farm {ending}, and what it made is still in its folder")
        raise typer.Exit(Exit.STOPPED) from None
    if as_json:
        emit(as_record(figures))
    else:
        print_summary(figures)
    raise typer.Exit(Exit.OK if figures.is_whole else Exit.FAILED_ITEMS)


def up(
    home: Home = None,
    workers: Workers = "auto",
    no_flower: NoFlower = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return, and leave it up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a farm on this computer: a server, workers and Flower, in one folder."""
    from genfarm import local
    from genfarm_shared.settings import Settings

    was_up = local.running(Settings.load(home=home).home) is not None
    farm = local.start(workers=_count(workers), home=home, flower=not no_flower, detach=detach)
    try:
        if as_json:
            emit(_record(farm))
        else:
            _describe(farm)
        if was_up:
            number = f"{len(farm.workers)} worker" + "s" * (len(farm.workers) != 1)
            ignored = "; --workers was ignored: `genfarm down` first" * (workers != "auto")
            say(f"already up with {number}{ignored}")
        if not farm.is_ours:
            say(f"it stays up: `genfarm down --home {farm.home}` ends it")
            return
        say("Ctrl-C ends it")
        while local.running(farm.home):
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        say("stopping: running batches may end first")
    finally:
        farm.stop()


def down(home: Home = None, as_json: AsJson = False) -> None:
    """End the farm that is up in the home. Nothing that was asked for is lost."""
    from genfarm import local
    from genfarm_shared.settings import Settings

    place = Settings.load(home=home).home
    was_up = local.stop(place)
    if as_json:
        emit({"home": str(place), "was_up": was_up})
    say(f"the farm in {place} is down" if was_up else f"no farm is up in {place}")


def status(home: Home = None, as_json: AsJson = False) -> None:
    """Say where the farm is, who works in it and what waits."""
    from genfarm.cli.target import find_broker
    from genfarm_shared.queue import Broker
    from genfarm_shared.settings import masked
    from genfarm_shared.store import Store

    address = find_broker(home)
    broker, store = Broker(address.broker), Store(address.store)
    broker.ping()
    workers, backlog = store.list_workers(), store.backlog()
    record = {
        "broker": masked(address.broker),
        "store": masked(address.store),
        "artifacts": address.artifacts,
        "flower_url": address.flower_url,
        "workers": [{"node": w.node, "state": w.state, "pid": w.pid} for w in workers],
        "backlog": {model: dict(states) for model, states in backlog.items()},
    }
    broker.close()
    store.close()
    if as_json:
        emit(record)
        return
    waiting = sum(sum(states.values()) for states in backlog.values())
    nodes = ", ".join(f"{w.node} ({w.state})" for w in workers) or "none"
    rows = [(name, record[name]) for name in ("broker", "store", "artifacts")]
    rows += [("flower", address.flower_url or "-"), ("workers", nodes)]
    show_table(("", ""), [*rows, ("not ended", f"{waiting} tasks")])


def worker(
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda:0, a GPU or MIG uuid, or all: one a GPU.")
    ] = "auto",
    models: Annotated[str, typer.Option(help="Registry keys, comma-separated; else all.")] = "",
    node: Annotated[str, typer.Option(help="Node name in Flower; else the device's.")] = "",
    home: Home = None,
) -> None:
    """Run a worker of the farm here. Runs in the foreground; SIGTERM lets it finish."""
    from genfarm.worker import become_worker, run_worker_per_gpu

    settings_home = home.absolute() if home else None
    if device == "all":
        raise typer.Exit(run_worker_per_gpu(models, settings_home, say))
    become_worker(device, models, node, settings_home, say)


def flower(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback.")] = 5555,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say where Flower is, or run it in the foreground for a farm that has none."""
    from genfarm.cli.target import find_broker
    from genfarm.flower import USER, become_flower, plain_way
    from genfarm_shared.settings import Settings

    address = find_broker(home)
    settings = Settings.load(home=home, broker=address.broker)
    password = settings.home / "flower.password"

    def announce(url: str) -> None:
        if as_json:
            emit({"flower_url": url, "user": USER, "password_file": str(password)})
            return
        say(f"user {USER}, password in {password}")
        if address.flower_url:
            write(url)
        else:
            say(f"Flower will answer on {url}; the plain way: {plain_way(port)}")

    if address.flower_url:
        announce(address.flower_url)
    else:
        become_flower(settings, port, announce)


def _count(workers: str) -> "int | Literal['auto']":
    if workers == "auto":
        return "auto"
    if not workers.isdecimal():
        raise typer.BadParameter(
            f"{workers!r} is neither auto nor a number", param_hint="--workers"
        )
    return int(workers)


def _record(farm: "RunningFarm") -> dict[str, object]:
    from genfarm_shared.settings import masked

    return {
        "home": str(farm.home),
        "pid": farm.pid,
        "broker": masked(farm.broker),
        "store": masked(farm.store),
        "artifacts": farm.artifacts,
        "flower_url": farm.flower_url,
        "workers": [{"node": w.node, "pid": w.pid} for w in farm.workers],
    }


def _describe(farm: "RunningFarm") -> None:
    record = _record(farm)
    nodes = ", ".join(f"{w.node} (pid {w.pid})" for w in farm.workers)
    say(f"farm     {farm.home}")
    say(f"broker   {record['broker']}")
    say(f"store    {record['store']}")
    say(f"workers  {nodes or 'none: `genfarm worker` adds one'}")
    if farm.flower_url:
        say(f"flower   {farm.flower_url}  (user genfarm, password in {farm.home}/flower.password)")
