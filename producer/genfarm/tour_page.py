"""The page of a tour: one table, made of what its jobs brought, with pictures beside it."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from genfarm.media import Audio
from genfarm.result import Result
from genfarm.sheet import show_results
from genfarm.tour import Seen

#: Results that a picture or a quotation shows.
SHOWN = 10
#: Characters of a quotation.
QUOTED = 90
#: Pixels of a drawn sound.
WAVE = (320, 64)
SAID = "# Every system, once through the farm\n\nWritten by `genfarm tour`: nothing by hand.\n\n"
HEAD = "| system | kind | model | what the model is | items | items a second | shows |"


def write_page(everything: Sequence[Seen], dest: Path) -> Path:
    """Write README.md and its pictures into `dest`; returns the page's path."""
    dest.mkdir(parents=True, exist_ok=True)
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    lines += [_row(seen, dest) for seen in everything]
    page = dest / "README.md"
    page.write_text(SAID + "\n".join(lines) + "\n", encoding="utf-8")
    return page


def _row(seen: Seen, dest: Path) -> str:
    rate = "" if seen.rate is None else f"{seen.rate:.1f}"
    count = f"{seen.succeeded} of {seen.total}" if seen.total else "not served"
    what = [seen.stop.system, f"`{seen.stop.kind}`", f"`{seen.stop.model}`", seen.description]
    shown = _shown(seen, dest) if seen.succeeded else ""
    return "| " + " | ".join([*map(_cell, what), count, rate, shown]) + " |"


def _shown(seen: Seen, dest: Path) -> str:
    """A picture, or a quotation, of the first results."""
    good = [result for result in seen.results if result.ok][:SHOWN]
    name = f"{seen.stop.model}-{seen.stop.kind}" + (
        "-walk" if good[0].params.get("to_seed") else ""
    )
    first = good[0]
    if first.videos:
        path = first.videos[0].save(dest / f"{name}{_suffix(first)}")
    elif first.audio is not None:
        path = dest / f"{name}.png"
        draw_wave(first.audio).save(path)
        first.audio.save(dest / f"{name}{_suffix(first)}")
    elif first.images:
        path = dest / f"{name}.png"
        sheet = show_results(good, cols=min(len(good) * len(first.images), SHOWN), size=64)
        assert isinstance(sheet, Image.Image)  # noqa: S101  # there are pictures
        sheet.save(path)
    else:
        return _cell(_quote(first))
    return f"![{seen.stop.system}]({path.name})"


def _quote(result: Result) -> str:
    if result.embedding is not None:
        return "[" + ", ".join(f"{x:.2f}" for x in result.embedding[:4]) + ", ...]"
    if result.labels:
        said = ", ".join(f"{label} {score:.2f}" for label, score in result.labels.items())
    else:
        said = result.text or ""
    asked = "" if result.params.get("image") else f"{result.input} → "
    text = " ".join(f"{asked}{said}".split())
    return text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"


def draw_wave(audio: Audio) -> Image.Image:
    """The loudest of each moment's samples, both ways; only of a WAV of 16 bits."""
    wide, high = WAVE
    # 44 bytes of head, then the samples: what the farm's own encoder writes.
    samples = [abs(s) for (s,) in struct.iter_unpack("<h", audio.data[44 : len(audio.data) & ~1])]
    step = max(1, math.ceil(len(samples) / wide))
    image = Image.new("RGB", WAVE, "white")
    pen = ImageDraw.Draw(image)
    for x in range(min(wide, len(samples) // step)):
        half = max(samples[x * step : (x + 1) * step]) * (high // 2) // 32768
        pen.line([(x, high // 2 - half), (x, high // 2 + half)], fill="black")
    return image


def _suffix(result: Result) -> str:
    return Path(result.artifacts[0].name).suffix


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
