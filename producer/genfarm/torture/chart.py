"""A picture of a run: tasks a second over time, and a mark for every strike. Hand-written SVG."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

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
#: Steps that an axis may have, each times a power of ten.
ROUND = (1, 2, 5, 10)


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
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">'
    )
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, background, *body, "</svg>", ""])


def _x(seconds: float, span: float) -> float:
    return LEFT + seconds / span * (WIDTH - LEFT - RIGHT)


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, said: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"/>'


def _frame(report: Report, span: float, most: float) -> Iterator[str]:
    verdict = report.verdict
    title = (
        f"genfarm torture, seed {report.seed}, {report.store}: {verdict.tasks} tasks, "
        f"{len(report.strikes)} faults, {len(report.breaches)} violations"
    )
    yield _text(LEFT, 22, title, "start", ' font-size="15" font-weight="bold"')
    bottom = HEIGHT - BOTTOM
    for tick in _ticks(most, 5):
        yield _line(LEFT, _y(tick, most), WIDTH - RIGHT, _y(tick, most), "#e8e8e8")
        yield _text(LEFT - 8, _y(tick, most) + 4, f"{tick:g}", "end")
    for tick in _ticks(span, 10):
        yield _line(_x(tick, span), bottom, _x(tick, span), bottom + 5, CURVE)
        yield _text(_x(tick, span), bottom + 20, f"{tick:g}")
    yield _line(LEFT, bottom, WIDTH - RIGHT, bottom, CURVE)
    yield _line(LEFT, TOP, LEFT, bottom, CURVE)
    yield _text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, "seconds since the first submission")
    middle = (TOP + bottom) / 2
    turned = f' transform="rotate(-90 18 {middle:.0f})"'
    yield _text(18, middle, "tasks ended a second", more=turned)


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
    yield f'<rect x="{x}" y="{y - 6}" width="18" height="2" fill="{CURVE}"/>'
    yield _text(x + 24, y, "tasks", "start")
    x += 80
    for family, colour in COLOURS.items():
        yield f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, y, f"{family} ({counts[family]})", "start")
        x += 122


def _ticks(most: float, number: int) -> list[float]:
    """At most `number` round values above 0 up to `most`."""
    scale = 1.0
    while most / (scale * ROUND[-1]) > number:
        scale *= 10
    step = next((scale * r for r in ROUND if most / (scale * r) <= number), scale * ROUND[-1])
    return [step * n for n in range(1, int(most / step) + 1)]
