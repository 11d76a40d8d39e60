"""`metrics`: the farm's state for Prometheus, once or for every scrape."""

from typing import Annotated

import typer

from genfarm.cli.words import Home, say, write


def add_to(app: typer.Typer) -> None:
    app.command()(metrics)


def metrics(
    serve: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Answer GET /metrics there until Ctrl-C.")
    ] = "",
    home: Home = None,
) -> None:
    """Print the farm's metrics in the text format of Prometheus: tasks, workers, goodput."""
    from genfarm.cli.target import open_store
    from genfarm_shared.metrics import render

    with open_store(home) as store:
        if not serve:
            write(render(store).removesuffix("\n"))
            return
        from genfarm.exporter import make_exporter

        with make_exporter(serve, lambda: render(store)) as server:
            host, port = server.server_address[:2]
            say(f"metrics  http://{host!s}:{port}/metrics  (Ctrl-C ends it)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say("stopped")
