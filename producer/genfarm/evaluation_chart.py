"""A picture of an evaluation: a bar for each figure, a mark where real ones are.

Every figure has a scale of its own, from nought to the larger of the two.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genfarm.drawing import Drawing, Line, Rect, Shape, Text

if TYPE_CHECKING:
    from genfarm.evaluation import Evaluation
    from genfarm_shared.figures import Figure

#: Pixels.
WIDTH, MARGIN, TOP = 860, 20, 62
LEFT, RIGHT = 200, 560
ROW, BAR = 26, 14
#: As in `benchmark/chart.py`: readable on light and dark.
INK, OURS, REAL = "#767676", "#0072b2", "#d55e00"


def draw_evaluation(found: "Evaluation") -> Drawing:
    """All its figures that are numbers one can draw."""
    from math import isfinite

    figures = [figure for figure in found.figures if isfinite(figure.value)]
    title = f"{found.n} {found.what} of {found.job}"
    shapes: list[Shape] = [
        Text(MARGIN, 26, title, "start", INK, size=16, is_bold=True),
        Rect(LEFT, 38, 12, 10, OURS),
        Text(LEFT + 18, 47, "generated", "start", INK, size=10),
        Line(LEFT + 96, 36, LEFT + 96, 50, REAL, 3),
        Text(LEFT + 104, 47, "real against real", "start", INK, size=10),
    ]
    for place, figure in enumerate(figures):
        shapes += _draw(figure, TOP + ROW * place)
    return Drawing(WIDTH, TOP + ROW * len(figures) + MARGIN, shapes)


def _draw(figure: "Figure", y: float) -> Iterator[Shape]:
    from genfarm.evaluation import number

    middle = y + ROW / 2
    most = max(figure.value, figure.real or 0.0, 0.0) or 1.0
    yield Text(LEFT - 8, middle + 4, figure.name, "end", INK)
    # An unbiased distance may be below nought: it has no bar, and its number says so.
    length = max(figure.value, 0.0) / most * (RIGHT - LEFT)
    yield Rect(LEFT, middle - BAR / 2, max(length, 1.0), BAR, OURS)
    said = number(figure.value)
    if figure.real is not None:
        x = LEFT + max(figure.real, 0.0) / most * (RIGHT - LEFT)
        yield Line(x, middle - 9, x, middle + 9, REAL, 3)
        said += f"   real {number(figure.real)}"
    said += f"   n {figure.n}" + (f"   {figure.better} is better" if figure.better else "")
    yield Text(RIGHT + 12, middle + 4, said, "start", INK)
