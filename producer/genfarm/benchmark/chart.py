"""A picture of a report: a bar an arm, its spread as a whisker. Readable on light and dark."""

from collections.abc import Iterator

from genfarm.benchmark.words import number, ours
from genfarm.drawing import Drawing, Line, Rect, Shape, Text, ticks
from genfarm_shared.measure import Measured, Part, Report

#: Pixels.
WIDTH, MARGIN = 960, 24
#: Where bars begin and end; left of it stand names, right of it medians.
LEFT, RIGHT = 300, 840
ROW, BAR = 26, 14
#: Above a part's first bar, and below its last.
HEAD, FOOT = 40, 34
TITLE = 44
#: 4.5 to 1 against white, 4.2 to 1 against a dark page.
INK, FAINT = "#767676", "#9a9a9a55"
#: Told apart by people who see few colours too (Okabe and Ito's palette).
OURS, OTHERS = "#0072b2", "#b8b8b8"


def draw_report(report: Report) -> Drawing:
    """All its parts, one below the other."""
    shapes: list[Shape] = []
    title = f"genfarm bench {report.name}"
    shapes.append(Text(MARGIN, 26, title, "start", INK, size=16, is_bold=True))
    shapes.append(Text(MARGIN, TITLE, report.question, "start", INK))
    y = TITLE + 12.0
    for part in report.parts:
        shapes += _draw_part(part, y)
        y += HEAD + ROW * len(part.arms) + FOOT
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    shapes.append(Text(MARGIN, y + 8, machine, "start", INK, size=10))
    return Drawing(WIDTH, round(y + 24), shapes)


def _draw_part(part: Part, top: float) -> Iterator[Shape]:
    most = max((max(arm.values) for arm in part.arms), default=0.0) or 1.0
    yield Text(MARGIN, top + 22, f"{part.title} ({part.unit})", "start", INK, 13, is_bold=True)
    first = top + HEAD
    bottom = first + ROW * len(part.arms)
    for tick in ticks(most, 6):
        x = _x(tick, most)
        yield Line(x, first - 4, x, bottom, FAINT)
        yield Text(x, bottom + 14, f"{tick:,g}", "middle", INK, size=10)
    yield Line(LEFT, first - 4, LEFT, bottom, INK)
    for place, arm in enumerate(part.arms):
        is_ours = arm is ours(part)
        yield from _draw_arm(arm, first + ROW * place, most, OURS if is_ours else OTHERS)


def _draw_arm(arm: Measured, y: float, most: float, colour: str) -> Iterator[Shape]:
    middle = y + ROW / 2 - 2
    end = _x(arm.median, most)
    yield Text(LEFT - 8, middle + 4, arm.name, "end", INK)
    yield Rect(LEFT, middle - BAR / 2, max(end - LEFT, 1.0), BAR, colour)
    low, high = _x(min(arm.values), most), _x(max(arm.values), most)
    yield Line(low, middle, high, middle, INK, 1.5)
    for x in (low, high):
        yield Line(x, middle - 4, x, middle + 4, INK, 1.5)
    yield Text(RIGHT + 12, middle + 4, number(arm.median), "start", INK)


def _x(value: float, most: float) -> float:
    return LEFT + value / most * (RIGHT - LEFT)
