"""Has pieces played and listens: which tones, how long, in which order; it trains nothing."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genfarm_workers.zoo.music.codec import encode_pieces
from genfarm_workers.zoo.music.tones import (
    FRAME,
    FRAMES,
    PIECES,
    SCALE,
    TEMPI,
    Piece,
    compose,
    play,
)

#: What the card recommends.
GUIDANCE = 2.0

#: Below this share of full loudness a frame is a rest.
_QUIET = 0.05
_SEEDS = 2


@dataclass(frozen=True, slots=True)
class MusicMetrics:
    """How well what is heard fits what was asked for."""

    #: Pieces played, every one that the grammar has, with seeds 0 and 1.
    pieces: int
    #: Share of the frames that sound in which nearly all energy is in one tone of the scale.
    in_tune: float
    #: Share of the steps from note to note that fit the figure; melodies are left out.
    steps_right: float
    #: Share of the notes that are as long as the tempo says, to a frame; long tones are left out.
    tempo_right: float
    #: Share of the pieces that sound like the instrument asked for.
    timbre_right: float
    #: The same four for pieces of the grammar that were handed through the codec alone.
    codec_alone: dict[str, float]
    #: And for such pieces as the grammar makes them: the best there is to reach.
    grammar: dict[str, float]


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard in one piece."""

    #: Of each frame the place of its tone in SCALE, None for a rest.
    tones: list[int | None]
    #: Shares, as in MusicMetrics; None where there is nothing to tell.
    in_tune: float | None
    steps_right: float | None
    tempo_right: float | None
    timbre_right: float | None


def measure_music(directory: Path) -> MusicMetrics:
    from transformers import AutoTokenizer, MusicgenForConditionalGeneration

    model = MusicgenForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    asked = [piece for _ in range(_SEEDS) for piece in PIECES]
    played = [
        wave
        for seed in range(_SEEDS)
        for wave in _play(model, tokenizer, [p.words() for p in PIECES], seed)
    ]
    heard = [listen(piece, wave) for piece, wave in zip(asked, played, strict=True)]
    coded, made = _through_codec(model)
    return MusicMetrics(
        len(asked), **_means(heard), codec_alone=_means(coded), grammar=_means(made)
    )


@torch.inference_mode()
def _play(model: Any, tokenizer: Any, prompts: Sequence[str], seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    text = tokenizer(list(prompts), padding=True, return_tensors="pt")
    waves = model.generate(
        input_ids=text.input_ids,
        attention_mask=text.attention_mask,
        do_sample=True,
        guidance_scale=GUIDANCE,
        max_length=FRAMES + model.decoder.num_codebooks,
    )
    return list(waves)


@torch.inference_mode()
def _through_codec(model: Any) -> tuple[list[Heard], list[Heard]]:
    """The grammar's own pieces behind the codec, and before it."""
    codec, chance = model.audio_encoder, random.Random(1)  # noqa: S311
    waves = [play(piece, compose(piece, chance)) for piece in PIECES]
    codes = [encode_pieces(codec, wave[None]).transpose(0, 1) for wave in waves]
    coded = [codec.decoder(codec.quantizer.decode(one)) for one in codes]
    pairs = [(listen(p, c[0]), listen(p, w)) for p, c, w in zip(PIECES, coded, waves, strict=True)]
    return [one for one, _ in pairs], [one for _, one in pairs]


def listen(piece: Piece, wave: Tensor) -> Heard:
    """What (1, samples) have of that piece. The frame of the codec holds whole waves of each
    tone, so that its spectrum has them in bins of their own."""
    frames = wave[0, : wave.shape[1] // FRAME * FRAME].view(-1, FRAME).float()
    spectrum = torch.fft.rfft(frames).abs() * (2 / FRAME)
    first = spectrum[:, list(SCALE)]
    loudness, place = first.max(dim=1)
    sounding = (loudness > _QUIET).tolist()
    tones = [p if on else None for p, on in zip(place.tolist(), sounding, strict=True)]
    kept = [k for k, on in enumerate(sounding) if on]
    notes = [(tone, len(list(run))) for tone, run in groupby(tones)]
    return Heard(
        tones,
        _mean([_is_pure(spectrum[k], SCALE[int(place[k])]) for k in kept]),
        _mean(_fitting(piece, [tone for tone, length in notes if length > 1])),
        None
        if piece.figure == "long tone"
        else _mean([abs(n - TEMPI[piece.tempo]) <= 1 for tone, n in notes if tone is not None]),
        _mean([_is_organ(spectrum[kept], place[kept]) == (piece.timbre == "organ")])
        if kept
        else 0.0,
    )


def _is_pure(spectrum: Tensor, waves: int) -> bool:
    """Whether nine tenths of the energy are in the tone's own waves."""
    power = spectrum.square()
    own = power[[waves, 2 * waves, 3 * waves]].sum() + power[[waves - 1, waves + 1]].sum()
    return bool(own > 0.9 * power.sum())


def _is_organ(spectrum: Tensor, place: Tensor) -> bool:
    """Whether the second waves are more than a third as loud as the first."""
    waves = torch.tensor(SCALE)[place]
    rows = torch.arange(len(waves))
    return bool((spectrum[rows, 2 * waves] / spectrum[rows, waves]).median() > 1 / 3)


def _fitting(piece: Piece, tones: Sequence[int | None]) -> list[bool]:
    """Of each step between two notes, whether the figure has such a step."""
    if piece.figure == "melody":
        return []
    if piece.figure == "long tone":
        return [len(set(tones)) == 1]
    steps = []
    for before, after in pairwise(tones):
        if before is not None and after is not None:
            up = (after - before) % len(SCALE)
            wanted = {"rising scale": up == 1, "falling scale": up == len(SCALE) - 1}
            steps.append(wanted.get(piece.figure, after == before ^ 1))
    return steps


def _mean(values: Sequence[bool | float]) -> float | None:
    return sum(values) / len(values) if values else None


def _means(heard: Sequence[Heard]) -> dict[str, float]:
    means = {}
    for name in ("in_tune", "steps_right", "tempo_right", "timbre_right"):
        told = [value for one in heard if (value := getattr(one, name)) is not None]
        means[name] = sum(told) / len(told) if told else 0.0
    return means
