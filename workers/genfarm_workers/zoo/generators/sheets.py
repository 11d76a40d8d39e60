"""What one looks at: sheets of samples, curves of losses, maps of a latent space. PNG, by Pillow.

Knows no training; the same generator gives the same sheet.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genfarm_workers.engines.generators import Generator, one_hot

#: Rows of a sheet, its columns where there are no classes, and its columns at most.
ROWS, COLUMNS, MOST_COLUMNS = 8, 10, 20
#: Pixels of a sheet for each of a picture, between pictures, and of a line of words.
_ZOOM, _GAP, _LINE = 2, 6, 22
#: Of a chart: its size and margins.
_WIDTH, _HEIGHT, _MARGIN = 960, 480, 60
#: Told apart by people who see few colours too (Okabe and Ito's), then two more for ten digits.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#999999",
    "#222222",
    "#b3a800",
    "#7a3b00",
)


@torch.no_grad()
def draw_sheet(generator: Generator, path: Path) -> None:
    """Samples of the generator, a column for each class with its name above."""
    design = generator.design
    heads = list(design.labels[:MOST_COLUMNS]) or [""] * COLUMNS
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(len(heads)).repeat(ROWS)
    noise = torch.randn(len(labels), design.latent, generator=chance)
    pictures = as_images(generator(noise, one_hot(labels, design)))
    edge = design.size * _ZOOM
    size = (len(heads) * (edge + _GAP) + _GAP, ROWS * (edge + _GAP) + _GAP + _LINE)
    sheet = Image.new("RGB", size, "#d8d8d8")
    brush = ImageDraw.Draw(sheet)
    for place, head in enumerate(heads):
        x = _GAP + place * (edge + _GAP)
        brush.text((x + edge // 2, _LINE - 4), head[:9], "black", _font(13), anchor="ms")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, len(heads))
        corner = (_GAP + column * (edge + _GAP), _LINE + _GAP + row * (edge + _GAP))
        sheet.paste(picture.resize((edge, edge), Image.Resampling.NEAREST), corner)
    sheet.save(path)


def as_images(pictures: Tensor) -> list[Image.Image]:
    """(N, C, S, S) from -1 to 1 as grey or coloured pictures."""
    pixels = ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    rows = pixels.permute(0, 2, 3, 1).contiguous()
    arrays = (row.numpy() if row.shape[2] == 3 else row[:, :, 0].numpy() for row in rows)
    return [Image.fromarray(array) for array in arrays]


def draw_losses(losses: Sequence[Sequence[float]], curves: Sequence[str], path: Path) -> None:
    """A curve for each loss over the steps, each the mean of a two-hundredth of them."""
    means = _means(torch.tensor(losses, dtype=torch.float64))
    most = max(means.max().item(), 1e-9) * 1.05
    chart, brush = _chart(f"losses of {len(losses):,} steps")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        brush.line((_MARGIN, y, _WIDTH - _MARGIN, y), "#e0e0e0")
        brush.text((_MARGIN - 8, y), f"{share * most:.3g}", "black", _font(13), anchor="rm")
        where = _MARGIN + share * (_WIDTH - 2 * _MARGIN)
        said = f"{share * len(losses):,.0f}"
        brush.text((where, _HEIGHT - _MARGIN + 8), said, "black", _font(13), anchor="ma")
    for place in range(len(curves)):
        steps = max(1, len(means) - 1)
        line = [
            (_MARGIN + k / steps * (_WIDTH - 2 * _MARGIN), _y(value / most))
            for k, value in enumerate(means[:, place].tolist())
        ]
        brush.line(line if len(line) > 1 else line * 2, COLOURS[place], width=2)
    _legend(brush, curves)
    chart.save(path)


def draw_map(points: Tensor, labels: Tensor, names: Sequence[str], path: Path) -> float:
    """Points (N, latent) in the plane of their widest spread (PCA), coloured by class.

    Returns the share of their variance that the plane shows.
    """
    centred = points.double() - points.double().mean(dim=0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    share = float(spread[:2].square().sum() / spread.square().sum())
    chart, brush = _chart(f"{len(points):,} pictures in latent space: 2 axes, {share:.0%} of it")
    reach = plane.abs().amax(dim=0).clamp(min=1e-9)
    places = plane / reach / 2 + 0.5
    for (x, y), label in zip(places.tolist(), labels.tolist(), strict=True):
        where = _MARGIN + x * (_WIDTH - 2 * _MARGIN), _y(y)
        colour = COLOURS[label % len(COLOURS)]
        brush.ellipse((where[0] - 2, where[1] - 2, where[0] + 2, where[1] + 2), colour)
    for label in sorted(set(labels.tolist())) if names else ():
        centre = places[labels == label].mean(dim=0).tolist()
        where = _MARGIN + centre[0] * (_WIDTH - 2 * _MARGIN), _y(centre[1])
        brush.text(
            where, names[label][:9], "black", _font(20), "mm", stroke_width=3, stroke_fill="white"
        )
    _legend(brush, names[: len(COLOURS)])
    chart.save(path)
    return share


def _means(values: Tensor, most: int = 200) -> Tensor:
    """At most so many rows, each the mean of equally many neighbours."""
    return torch.stack([part.mean(dim=0) for part in values.tensor_split(min(most, len(values)))])


def _y(share: float) -> float:
    return _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)


def _chart(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    chart = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    brush = ImageDraw.Draw(chart)
    brush.text((_MARGIN, 12), title, "black", _font(16))
    return chart, brush


def _legend(brush: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    x = float(_MARGIN)
    for place, name in enumerate(names):
        brush.rectangle((x, _HEIGHT - 22, x + 11, _HEIGHT - 11), COLOURS[place])
        brush.text((x + 17, _HEIGHT - 16), name, "black", _font(13), anchor="lm")
        x += 34 + brush.textlength(name, _font(13))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
