"""The music that is learnt: its grammar, its words, and how it sounds.

The scale is a just one on 600 Hz, and every tone makes a whole number of waves in
a frame of the codec (25 a second): a frame of a steady tone always looks the same,
so that few codes say all of them. Knows no model.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

#: Samples a second, and samples of one frame of the codec.
RATE, FRAME = 8_000, 320
#: The tones of the scale, as waves in a frame: 600, 675, 750, 800, 900, 1000, 1125 and 1200 Hz.
SCALE = (24, 27, 30, 32, 36, 40, 45, 48)
#: Frames of a piece, 5 seconds.
FRAMES = 125

#: How loud the first, second and third wave of a tone are.
TIMBRES = {"flute": (0.6, 0.06, 0.0), "organ": (0.4, 0.24, 0.12)}
#: Frames of a note.
TEMPI = {"slow": 10, "fast": 5}
FIGURES = ("rising scale", "falling scale", "trill", "melody", "long tone")

_PLAIN = (
    "a {tempo} {figure} of {timbre} tones",
    "{tempo} {figure} of {timbre} tones",
    "a {tempo} {figure} on the {timbre}",
    "play a {tempo} {figure} on the {timbre}",
    "{timbre} , {tempo} {figure}",
)
#: Share of captions without any word, for guidance, and of a rest in place of a note.
_EMPTY, _REST = 0.1, 0.06
#: Samples in which a tone swells and dies away; each within a frame.
_SWELL, _FADE = 120, 240


@dataclass(frozen=True, slots=True)
class Piece:
    """What a caption asks for."""

    figure: str
    tempo: str
    timbre: str

    def caption(self, chance: random.Random) -> str:
        if chance.random() < _EMPTY:
            return ""
        return self.words(chance.choice(_PLAIN))

    def words(self, plain: str = _PLAIN[0]) -> str:
        return plain.format(tempo=self.tempo, figure=self.figure, timbre=self.timbre)


#: Every piece there is.
PIECES = tuple(
    Piece(figure, tempo, timbre) for figure in FIGURES for tempo in TEMPI for timbre in TIMBRES
)
#: Every word of a caption.
WORDS = sorted({word for plain in _PLAIN for one in PIECES for word in one.words(plain).split()})


def compose(piece: Piece, chance: random.Random) -> list[int | None]:
    """The notes of a piece as places in SCALE, None for a rest; as many as fill it."""
    count = -(-FRAMES // TEMPI[piece.tempo])
    place = chance.randrange(len(SCALE))
    if piece.figure == "long tone":
        return [place] * count
    notes: list[int | None] = []
    for _ in range(count):
        notes.append(None if chance.random() < _REST else place)
        if piece.figure == "melody":
            place += chance.choice([-2, -1, 1, 2])
            place = abs(place) if place < len(SCALE) else 2 * len(SCALE) - 2 - place
        elif piece.figure == "trill":
            place ^= 1  # a pair of neighbours in turn
        else:
            place = (place + (1 if piece.figure == "rising scale" else -1)) % len(SCALE)
    return notes


def play(piece: Piece, notes: list[int | None]) -> Tensor:
    """(1, FRAMES * FRAME) samples in -1..1."""
    wave = torch.zeros(FRAMES * FRAME)
    length = TEMPI[piece.tempo] * FRAME
    if piece.figure == "long tone":
        notes, length = notes[:1], len(wave)
    for k, note in enumerate(notes):
        if note is not None:
            part = wave[k * length : (k + 1) * length]
            part += _tone(SCALE[note], piece.timbre, length)[: len(part)]
    return wave[None]


def _tone(waves: int, timbre: str, length: int) -> Tensor:
    phase = torch.arange(length) * (2 * torch.pi * waves / FRAME)
    tone = sum(loud * torch.sin((k + 1) * phase) for k, loud in enumerate(TIMBRES[timbre]))
    envelope = torch.ones(length)
    envelope[:_SWELL] = torch.linspace(0, 1, _SWELL)
    envelope[-_FADE:] = torch.linspace(1, 0, _FADE)
    return torch.as_tensor(tone) * envelope
