"""A report for people: a table a part, its ratios with their goals, and what to know."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genfarm_shared.measure import Measured, Part, Ratio, Report

#: An arm whose name begins so is ours; in a part without one, the first is.
OURS = "genfarm"


def ours(part: Part) -> Measured | None:
    """The arm that the others are compared with."""
    named = (arm for arm in part.arms if arm.name.startswith(OURS))
    return next(named, part.arms[0] if part.arms else None)


def number(value: float) -> str:
    """Three digits or more, never a power of ten: `0.0123`, `4.56`, `78.9`, `12,345`."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 4
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.{digits}f}"


def judgement(ratio: Ratio) -> str:
    """`24.1, at least 20 wanted: met`, or the bare number where nothing is promised."""
    if ratio.goal is None:
        return number(ratio.value)
    bound = "at most" if ratio.is_ceiling else "at least"
    met = "met" if ratio.is_met else "MISSED"
    return f"{number(ratio.value)}, {bound} {ratio.goal:g} wanted: {met}"


def tell_report(report: Report) -> Group:
    """All of it, for a terminal or a pipe."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    head = Text(f"genfarm bench {report.name}", style="bold")
    lines: list[RenderableType] = [head, Text(report.question)]
    for part in report.parts:
        lines += [Text(""), *tell_part(part)]
    return Group(*lines, Text(""), Text(f"machine: {machine}", style="dim"))


def tell_part(part: Part) -> Iterator[RenderableType]:
    """Its table, its ratios and its notes."""
    yield Text(f"{part.title}, {part.unit}", style="bold")
    if part.arms:
        yield _table(part)
    for ratio in part.ratios:
        style = {None: "", True: "green", False: "bold red"}[ratio.is_met]
        yield Text(f"  {ratio.what}: {judgement(ratio)}", style=style)
    for note in part.notes:
        yield Text(f"  note: {note}", style="dim")


def _table(part: Part) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("  arm")
    for column in ("median", "min .. max", "ours / it"):
        table.add_column(column, justify="right")
    base = ours(part)
    for arm in part.arms:
        spread = f"{number(min(arm.values))} .. {number(max(arm.values))}"
        is_base = base is None or arm is base or not arm.median
        ratio = "" if is_base or base is None else number(base.median / arm.median)
        table.add_row(f"  {escape(arm.name)}", number(arm.median), spread, ratio)
    return table
