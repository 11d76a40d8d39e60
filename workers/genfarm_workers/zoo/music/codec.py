"""The codec of the music model: a small EnCodec (arXiv 2210.13438) and how it learns.

First encoder and decoder learn to hand a sound through numbers; then these numbers
are put in classes (k-means, and once more what is left over), and the decoder learns
to make do with the classes. No discriminator: the sounds here are regular enough.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.zoo.music.tones import FRAME, PIECES, RATE, compose, play
from genfarm_workers.zoo.training import descend

#: Codes of a frame, and how many different ones each may be.
CODEBOOKS, CODES = 2, 64

_BATCH = 6
#: Frames of a sound of a training step, one second of some piece.
_STRETCH = 25
_PEAK_RATE = 3e-3
#: Blur of the numbers while encoder and decoder learn, so that near ones come to mean the same.
_BLUR = 0.1
#: Pieces whose frames are put in classes.
_CLASSED = 24


def build_codec() -> Any:
    """EncodecModel: (N, 1, samples) to codes (2, N, frames) of 64 kinds and back."""
    from transformers import EncodecConfig, EncodecModel

    bits = (CODES - 1).bit_length()
    return EncodecModel(
        EncodecConfig(
            # Thousands of bits a second; a little more than needed, because it is rounded down.
            target_bandwidths=[(CODEBOOKS + 0.5) * bits * RATE / FRAME / 1000],
            sampling_rate=RATE,
            # One step from frame to sample, so that a filter is the wave of a tone as it is.
            # With the usual four (8, 5, 4, 2) nothing was learnt in 80 steps.
            upsampling_ratios=[FRAME],
            num_filters=12,
            hidden_size=16,
            codebook_size=CODES,
            num_lstm_layers=1,
        )
    )


def train_codec(steps: int, chance: random.Random, generator: torch.Generator) -> Any:
    """Two thirds of the steps for the numbers, one third for the classes."""
    codec = build_codec().train()
    losses = _losses(codec, chance, generator)
    first = max(1, steps * 2 // 3)
    for _ in descend("codec", losses, codec, steps=first, peak=_PEAK_RATE):
        pass
    _classify(codec, chance)
    decoder: nn.Module = codec.decoder
    losses = _classed_losses(codec, chance)
    for _ in descend("classes", losses, decoder, steps=max(1, steps - first), peak=_PEAK_RATE / 2):
        pass
    return codec.eval()


@torch.no_grad()
def encode_pieces(codec: Any, waves: Tensor) -> Tensor:
    """(N, 1, samples) to codes (N, 2, frames)."""
    codes: Tensor = codec.quantizer.encode(codec.encoder(waves))
    return codes.transpose(0, 1)


def _losses(codec: Any, chance: random.Random, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        waves = _stretches(chance)
        numbers = codec.encoder(waves)
        # Kept near a ball of radius one, or the blur would be outgrown.
        size = (numbers.square().mean() - 1).clamp(min=0)
        blurred = numbers + _BLUR * torch.randn(numbers.shape, generator=generator)
        yield _difference(codec.decoder(blurred), waves) + 0.01 * size


def _classed_losses(codec: Any, chance: random.Random) -> Iterator[Tensor]:
    while True:
        waves = _stretches(chance)
        with torch.no_grad():
            numbers = codec.quantizer.decode(codec.quantizer.encode(codec.encoder(waves)))
        yield _difference(codec.decoder(numbers), waves)


def _difference(made: Tensor, waves: Tensor) -> Tensor:
    """Of the samples, whose phase is no matter of chance here."""
    return functional.mse_loss(made[..., : waves.shape[-1]], waves)


def _stretches(chance: random.Random) -> Tensor:
    """(6, 1, samples), each from the beginning of some frame of some piece."""
    found = []
    for _ in range(_BATCH):
        piece = chance.choice(PIECES)
        wave = play(piece, compose(piece, chance))
        start = chance.randrange(wave.shape[1] // FRAME - _STRETCH) * FRAME
        found.append(wave[:, start : start + _STRETCH * FRAME])
    return torch.stack(found)


@torch.no_grad()
def _classify(codec: Any, chance: random.Random) -> None:
    """Fill the codebooks, the second with what the first leaves over."""
    from sklearn.cluster import KMeans

    pieces = [chance.choice(PIECES) for _ in range(_CLASSED)]
    waves = torch.stack([play(piece, compose(piece, chance)) for piece in pieces])
    left = codec.encoder(waves).transpose(1, 2).flatten(0, 1)
    for layer in codec.quantizer.layers:
        means = KMeans(CODES, n_init=1, random_state=0).fit(left.numpy())
        centres = torch.tensor(means.cluster_centers_, dtype=left.dtype)
        layer.codebook.embed.copy_(centres)
        left = left - centres[torch.from_numpy(means.labels_).long()]
