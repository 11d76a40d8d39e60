"""What the demo says at its end: one JSON object, or a few lines. Measures nothing."""

from dataclasses import asdict
from typing import Any

from genfarm.demo import Figures


def as_record(figures: Figures) -> dict[str, Any]:
    """The figures for programs; those that could not be had are null."""
    return {
        **asdict(figures.tally),
        "seconds": round(figures.seconds, 3),
        "workers": figures.workers,
        "killed": figures.killed,
        "concurrency_5x2s_seconds": round(figures.concurrency_5x2s_seconds, 3),
        "concurrency_100x2s_seconds": round(figures.concurrency_100x2s_seconds, 3),
        "floats_seconds": round(figures.floats_seconds, 3),
        "batching_gain": _rounded(figures.batching_gain),
        "one_by_one": figures.one_by_one,
        "recognised": _rounded(figures.recognised, 3),
        "flower_states": figures.flower_states,
        "flower_url": figures.flower_url,
        "gallery": str(figures.gallery) if figures.gallery else None,
        "folders": [str(folder) for folder in figures.folders],
        "home": str(figures.home),
        "kept": figures.kept,
    }


def print_summary(figures: Figures) -> None:
    """The figures for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in _lines(figures):
        table.add_row(name, words)
    Console(highlight=False).print(table)


def _lines(figures: Figures) -> list[tuple[str, str]]:
    t = figures.tally
    rate = t.succeeded / figures.seconds if figures.seconds else 0.0
    lines = [
        ("made", f"{t.succeeded} of {t.tasks} in {figures.seconds:.1f} s, {rate:.0f} a second"),
        ("fault", f"{figures.killed} killed; {t.takeovers} tasks taken over"),
        ("counted", f"{t.failed} failed, {t.lost} lost, {t.duplicated} duplicated"),
    ]
    if figures.batching_gain is not None:
        lines.append(("batching", f"{figures.batching_gain:.1f} times as fast as one by one"))
    if figures.recognised is not None:
        lines.append(("judged", f"{figures.recognised:.0%} of the digits recognised"))
    if figures.flower_states is not None:
        shown = ", ".join(f"{n} {state}" for state, n in sorted(figures.flower_states.items()))
        lines.append(("flower", f"shows {shown or 'nothing'}"))
    if figures.gallery is not None:
        lines.append(("gallery", str(figures.gallery)))
    lines += [("folder", str(folder)) for folder in figures.folders]
    if figures.kept:
        lines.append(("still up", f"genfarm down --home {figures.home}"))
    return lines


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
