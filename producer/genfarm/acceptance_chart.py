"""The acceptance curve as a picture: how many outputs passed after so many were generated."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from genfarm.drawing import Drawing, Line, Shape, Text, ticks

#: Pixels.
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 610, 56, 310
#: As in `benchmark/chart.py`: readable on light and dark.
INK, FAINT, OURS, ALL = "#767676", "#9a9a9a55", "#0072b2", "#d55e00"
#: Width of a round's name; where there is less room it has none.
NAME = 50
#: Points of the curve; more would not be seen.
POINTS = 500


def draw_curve(name: str, curve: Sequence[int], rounds: Sequence[int], wanted: int) -> Drawing:
    """`curve` has how many were accepted after 1, 2, 3, ... outputs, `rounds` the round of each."""
    most = max(len(curve), wanted, 1)
    done = curve[-1] if curve else 0
    title = f"{name}: {done} of {wanted} accepted after {len(curve)} outputs"
    shapes: list[Shape] = [Text(LEFT, 22, title, "start", INK, size=14, is_bold=True)]
    shapes += _ground(most, wanted)
    last: float = LEFT
    for place, (before, after) in enumerate(pairwise(rounds), 1):
        if before != after:
            x = _x(place, most)
            shapes.append(Line(x, TOP, x, BOTTOM, FAINT, 2))
            if x - last >= NAME:
                # Low down, which the curve has left by then.
                shapes.append(Text(x - 4, BOTTOM - 6, f"round {before}", "end", INK, size=10))
                last = x
    shapes.append(Line(_x(0, most), _y(0, wanted), _x(wanted, most), _y(wanted, wanted), ALL))
    shapes.append(Line(LEFT, 38, LEFT + 16, 38, ALL))
    shapes.append(Text(LEFT + 22, 42, "if everything passed", "start", INK, size=10))
    shapes += _steps(curve, most, wanted)
    return Drawing(WIDTH, HEIGHT, shapes)


def _ground(most: int, wanted: int) -> Iterator[Shape]:
    yield Line(LEFT, BOTTOM, RIGHT, BOTTOM, INK)
    yield Line(LEFT, TOP, LEFT, BOTTOM, INK)
    for tick in ticks(most, 8):
        yield Line(_x(tick, most), BOTTOM, _x(tick, most), BOTTOM + 4, INK)
        yield Text(_x(tick, most), BOTTOM + 18, f"{tick:g}", "middle", INK, size=10)
    for tick in ticks(wanted, 6):
        yield Line(LEFT, _y(tick, wanted), RIGHT, _y(tick, wanted), FAINT)
        yield Text(LEFT - 8, _y(tick, wanted) + 4, f"{tick:g}", "end", INK, size=10)
    yield Text((LEFT + RIGHT) / 2, BOTTOM + 38, "outputs generated", "middle", INK)
    yield Text(LEFT - 8, TOP - 16, "accepted", "end", INK, size=10)


def _steps(curve: Sequence[int], most: int, wanted: int) -> Iterator[Shape]:
    stride = max(len(curve) // POINTS, 1)
    places = [*range(0, len(curve), stride), len(curve)] if curve else [0]
    points = [(place, curve[place - 1] if place else 0) for place in places]
    for (x1, y1), (x2, y2) in pairwise(points):
        ends = (_x(x1, most), _y(y1, wanted), _x(x2, most), _y(y2, wanted))
        yield Line(*ends, OURS, 2.5)


def _x(samples: float, most: int) -> float:
    return LEFT + samples / most * (RIGHT - LEFT)


def _y(accepted: float, wanted: int) -> float:
    return BOTTOM - accepted / wanted * (BOTTOM - TOP)
