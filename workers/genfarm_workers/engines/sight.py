"""From a picture to what a small network sees: square, of its size and channels.

A user's training pictures and pictures to be encoded pass the same way. Knows no network.
"""

import torch
from PIL import Image

#: Times the wanted size that a picture is shrunk to before it gets its margins, so that the
#: square of a long strip stays small. A multiple loses nothing that can be seen.
_SPARE = 8


def fit(picture: Image.Image, size: int, channels: int) -> torch.Tensor:
    """(channels, size, size) bytes; a picture that is no square gets margins in its own tone."""
    picture = picture.convert("L" if channels == 1 else "RGB")
    picture = _shrunk(picture, _SPARE * size)
    edge = max(picture.size)
    if picture.width != picture.height:
        square = Image.new(picture.mode, (edge, edge), _margin(picture))
        square.paste(picture, ((edge - picture.width) // 2, (edge - picture.height) // 2))
        picture = square
    method = Image.Resampling.BOX if edge >= 2 * size else Image.Resampling.BILINEAR
    small = picture.resize((size, size), method)
    tones = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
    return tones.view(size, size, channels).permute(2, 0, 1)


def _shrunk(picture: Image.Image, most: int) -> Image.Image:
    """In its own proportions; squares need it not."""
    edge = max(picture.size)
    if edge <= most or picture.width == picture.height:
        return picture
    sides = [max(1, round(side * most / edge)) for side in picture.size]
    return picture.resize((sides[0], sides[1]), Image.Resampling.BOX)


def border_tones(tones: torch.Tensor) -> torch.Tensor:
    """The median tone around each picture (N, C, S, S), over its channels: (N,)."""
    grey = tones.mean(dim=1)
    edges = (grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1])
    return torch.cat(edges, dim=1).median(dim=1).values


def turn_to_paper(tones: torch.Tensor, paper: float | None) -> torch.Tensor:
    """A picture (C, S, S) from -1 to 1 in negative, where its paper is the opposite of `paper`."""
    is_negative = paper is not None and border_tones(tones[None]).item() * paper < 0
    return -tones if is_negative else tones


def _margin(picture: Image.Image) -> tuple[int, ...] | int:
    """The median tone of the border, by channel."""
    medians = []
    for channel in picture.split():
        wide, high = channel.size
        edges = [channel.crop(box).tobytes() for box in _borders(wide, high)]
        tones = sorted(b"".join(edges))
        medians.append(tones[len(tones) // 2])
    return medians[0] if len(medians) == 1 else tuple(medians)


def _borders(wide: int, high: int) -> tuple[tuple[int, int, int, int], ...]:
    return (0, 0, wide, 1), (0, high - 1, wide, high), (0, 0, 1, high), (wide - 1, 0, wide, high)
