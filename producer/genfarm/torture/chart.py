"""A picture of a run: tasks a second over time, and a mark for every strike. Hand-written SVG."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from genfarm.drawing import Line, Rect, Text, document, ticks
from genfarm.torture.nemesis import Strike
from genfarm.torture.report import Report

#: Pixels.
WIDTH, HEIGHT = 1000, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 56, 96
#: Told apart by people who see few colours too (Okabe and Ito's palette); by family.
COLOURS = {
    "worker": "#d55e00",
    "engine": "#e69f00",
    "disk": "#999999",
    "broker": "#0072b2",
    "network": "#56b4e9",
    "message": "#009e73",
    "database": "#cc79a7",
}
CURVE = "#222222"


def draw(report: Report) -> str:
    """The SVG document."""
    ends = [end - report.began_at for end in report.ends]
    span = max([*ends, *(s.at - report.began_at for s in report.strikes), 1.0])
    counts = Counter(int(end) for end in ends)
    most = max(counts.values(), default=1)
    body = [
        *_frame(report, span, most),
        *_marks(report.strikes, report.began_at, span),
        _curve(counts, span, most),
        *_legend(report.strikes),
    ]
    background = Rect(0, 0, WIDTH, HEIGHT, "white").svg()
    return document(WIDTH, HEIGHT, [background, *body])


def _x(seconds: float, span: float) -> float:
    return LEFT + seconds / span * (WIDTH - LEFT - RIGHT)


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM)


def _frame(report: Report, span: float, most: float) -> Iterator[str]:
    verdict = report.verdict
    title = (
        f"genfarm torture, seed {report.seed}, {report.store}: {verdict.tasks} tasks, "
        f"{len(report.strikes)} faults, {len(report.breaches)} violations"
    )
    yield Text(LEFT, 22, title, "start", size=15, is_bold=True).svg()
    bottom = HEIGHT - BOTTOM
    for tick in ticks(most, 5):
        yield Line(LEFT, _y(tick, most), WIDTH - RIGHT, _y(tick, most), "#e8e8e8").svg()
        yield Text(LEFT - 8, _y(tick, most) + 4, f"{tick:g}", "end").svg()
    for tick in ticks(span, 10):
        yield Line(_x(tick, span), bottom, _x(tick, span), bottom + 5, CURVE).svg()
        yield Text(_x(tick, span), bottom + 20, f"{tick:g}").svg()
    yield Line(LEFT, bottom, WIDTH - RIGHT, bottom, CURVE).svg()
    yield Line(LEFT, TOP, LEFT, bottom, CURVE).svg()
    yield Text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, "seconds since the first submission").svg()
    middle = (TOP + bottom) / 2
    unit = Text(18, middle, "tasks ended a second").svg()
    yield f'<g transform="rotate(-90 18 {middle:.0f})">{unit}</g>'


def _marks(strikes: Sequence[Strike], began_at: float, span: float) -> Iterator[str]:
    """A line for each strike, and a band while it was at work."""
    for strike in strikes:
        x, colour = _x(strike.at - began_at, span), COLOURS[strike.family]
        end = min(_x(strike.at - began_at + strike.seconds, span), WIDTH - RIGHT)
        told = f"{strike.at - began_at:.1f} s: {strike.fault}, {strike.target}"
        yield (
            f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{TOP}" '
            f'width="{max(end - x, 0):.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="{colour}" '
            f'fill-opacity="0.10"/><line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" '
            f'y2="{HEIGHT - BOTTOM}" stroke="{colour}" stroke-width="1.6"/></g>'
        )


def _curve(counts: Counter[int], span: float, most: float) -> str:
    """Steps of one second."""
    points = []
    for second in range(int(span) + 1):
        y = _y(counts[second], most)
        points += [f"{_x(second, span):.1f},{y:.1f}"]
        points += [f"{_x(min(second + 1, span), span):.1f},{y:.1f}"]
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{CURVE}" stroke-width="2"/>'


def _legend(strikes: Sequence[Strike]) -> Iterator[str]:
    counts = Counter(strike.family for strike in strikes)
    x, y = LEFT, HEIGHT - 24
    yield Rect(x, y - 6, 18, 2, CURVE).svg()
    yield Text(x + 24, y, "tasks", "start").svg()
    x += 80
    for family, colour in COLOURS.items():
        yield Rect(x, y - 11, 12, 12, colour).svg()
        yield Text(x + 18, y, f"{family} ({counts[family]})", "start").svg()
        x += 122
