"""Results to look at: pictures as one contact sheet, anything else as a table.

Knows no store; shows the results it is given.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from PIL import Image, ImageDraw, ImageOps

from genfarm import page
from genfarm.result import Result

#: Pixels between two cells, and below a picture for its caption.
GAP, CAPTION = 4, 14
#: Widest cell of a table, in characters.
WIDEST = 60
_PAPER, _INK = "white", "black"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that prints itself, in a terminal as text and in a notebook as HTML."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: Characters that a cell may have; of a longer one the beginning is shown.
    widest: int = WIDEST

    def __repr__(self) -> str:
        lines = [[_short(cell, self.widest) for cell in row] for row in (self.head, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        return page.table(self.head, self.rows)


def show_results(
    results: Sequence[Result], cols: int | None = None, size: int = 128
) -> Image.Image | Table:
    """One sheet of every picture, each cell `size` pixels, or a table where there is none."""
    cells = [(image, _caption(result)) for result in results for image in result.images]
    if not cells:
        return Table(
            ("id", "input", "output"), [(r.custom_id, str(r.input), _said(r)) for r in results]
        )
    captions = _told_apart([caption for _, caption in cells])
    wide = cols or math.ceil(math.sqrt(len(cells)))
    high = math.ceil(len(cells) / wide)
    step = (size + GAP, size + GAP + CAPTION)
    sheet = Image.new("RGB", (wide * step[0] + GAP, high * step[1] + GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, ((image, _), caption) in enumerate(zip(cells, captions, strict=True)):
        x, y = GAP + place % wide * step[0], GAP + place // wide * step[1]
        fitted = ImageOps.contain(image.convert("RGB"), (size, size), _resampling(image, size))
        sheet.paste(fitted, (x + (size - fitted.width) // 2, y + (size - fitted.height) // 2))
        while caption and pen.textlength(caption) > size:
            caption = caption[:-2].rstrip("…") + "…" if len(caption) > 2 else ""  # noqa: PLW2901
        pen.text((x, y + size), caption, fill=_INK)
    return sheet


def _resampling(image: Image.Image, size: int) -> Image.Resampling:
    """Small pictures keep their pixels sharp."""
    return Image.Resampling.NEAREST if max(image.size) < size else Image.Resampling.LANCZOS


def _caption(result: Result) -> str:
    label = result.params.get("label")
    return " ".join(str(result.input if label is None else label).split())[:200]


def _told_apart(captions: Sequence[str]) -> list[str]:
    """The captions without the words that all of them begin with: a cell has little room."""
    words = [caption.split() for caption in captions]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    same = len(list(shared)) if len(set(captions)) > 1 else 0
    return [" ".join(["…", *rest[same:]] if same else rest) for rest in words]


def _said(result: Result) -> str:
    if result.texts:
        return "\n".join(result.texts)
    if result.labels:
        return ", ".join(f"{label} {score:.2f}" for label, score in result.labels.items())
    if result.embedding is not None:
        return f"{len(result.embedding)} numbers"
    if result.artifacts:
        return ", ".join(f"{a.media_type}, {a.size:,} bytes" for a in result.artifacts)
    return json.dumps(dict(result.output), ensure_ascii=False)


def _short(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
