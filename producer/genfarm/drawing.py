"""Rectangles, lines and words, and the two files they become: SVG and PNG. Knows no figure."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

#: Steps that an axis may have, each times a power of ten.
ROUND = (1, 2, 5, 10)
FONT = "sans-serif"
FONT_SIZE = 12
#: Pixels of a PNG for each unit of the drawing, so that it is sharp on a good screen.
PNG_SCALE = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A line of words; `y` is its baseline."""

    x: float
    y: float
    said: str
    #: `start`, `middle` or `end`: which part of the words stands at `x`.
    anchor: str = "middle"
    colour: str = "#000000"
    size: int = FONT_SIZE
    is_bold: bool = False

    def svg(self) -> str:
        more = f' fill="{self.colour}"' if self.colour != "#000000" else ""
        more += f' font-size="{self.size}"' if self.size != FONT_SIZE else ""
        more += ' font-weight="bold"' if self.is_bold else ""
        place = f'x="{self.x:.1f}" y="{self.y:.1f}" text-anchor="{self.anchor}"'
        return f"<text {place}{more}>{escape(self.said)}</text>"


@dataclass(frozen=True, slots=True)
class Line:
    """From one point to another."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0

    def svg(self) -> str:
        ends = f'x1="{self.x1:.1f}" y1="{self.y1:.1f}" x2="{self.x2:.1f}" y2="{self.y2:.1f}"'
        width = f' stroke-width="{self.width:g}"' if self.width != 1.0 else ""
        return f'<line {ends} stroke="{self.colour}"{width}/>'


@dataclass(frozen=True, slots=True)
class Rect:
    """Filled, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    colour: str

    def svg(self) -> str:
        place = f'x="{self.x:.1f}" y="{self.y:.1f}"'
        size = f'width="{self.width:.1f}" height="{self.height:.1f}"'
        return f'<rect {place} {size} fill="{self.colour}"/>'


Shape = Text | Line | Rect


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes on a ground of their own size, which is transparent."""

    width: int
    height: int
    shapes: Sequence[Shape]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as the file's name says: PNG for `.png`, else SVG."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            path.write_bytes(self._png())
        else:
            path.write_text(self._repr_svg_())

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return document(self.width, self.height, [s.svg() for s in self.shapes])

    def _png(self) -> bytes:
        import io

        from PIL import Image, ImageDraw

        size = (self.width * PNG_SCALE, self.height * PNG_SCALE)
        image = Image.new("RGBA", size, (0, 0, 0, 0))
        brush = ImageDraw.Draw(image)
        for shape in self.shapes:
            _paint(brush, shape)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()


def document(width: int, height: int, body: Sequence[str]) -> str:
    """An SVG document around lines of SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" font-size="{FONT_SIZE}">'
    )
    return "\n".join([head, *body, "</svg>", ""])


def ticks(most: float, number: int) -> list[float]:
    """At most `number` round values above 0 up to `most`."""
    if most <= 0:
        return []
    scale = 1.0
    while most / (scale * ROUND[-1]) > number:
        scale *= 10
    while most / scale < 1:
        scale /= 10
    step = next((scale * r for r in ROUND if most / (scale * r) <= number), scale * ROUND[-1])
    return [step * n for n in range(1, int(most / step) + 1)]


def _paint(brush: Any, shape: Shape) -> None:
    """On a `PIL.ImageDraw`; its own font has one weight, so nothing is bold there."""
    scale = PNG_SCALE
    match shape:
        case Rect():
            right, bottom = shape.x + shape.width, shape.y + shape.height
            corners = (shape.x * scale, shape.y * scale, right * scale, bottom * scale)
            brush.rectangle(corners, fill=shape.colour)
        case Line():
            ends = (shape.x1, shape.y1, shape.x2, shape.y2)
            width = max(round(shape.width * scale), 1)
            brush.line([end * scale for end in ends], fill=shape.colour, width=width)
        case Text():
            from PIL import ImageFont

            font = ImageFont.load_default(shape.size * scale)
            place = (shape.x * scale, shape.y * scale)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            brush.text(place, shape.said, fill=shape.colour, font=font, anchor=anchor)
