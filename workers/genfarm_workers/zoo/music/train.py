"""Trains the music model: first its codec, then what writes the codec's codes to a caption.

Method: MusicGen (arXiv 2306.05284), each codebook a step behind the one before it, and
captions dropped for guidance. Knows nothing of the measuring.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.zoo.music.codec import CODEBOOKS, CODES, encode_pieces, train_codec
from genfarm_workers.zoo.music.parts import LONGEST_TOKENS, build_musician, build_tokenizer
from genfarm_workers.zoo.music.tones import PIECES, compose, play
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

#: Steps of the decoder; the codec takes as many.
DEFAULT_STEPS = 450

_BATCH = 12
_PEAK_RATE = 3e-3
_AVERAGE_DECAY = 0.99
#: Most pieces that are encoded for the decoder to learn from.
_MOST_PIECES = 600


def train_music(plan: Plan) -> None:
    with recorded("music", plan) as modules:
        generator = torch.Generator().manual_seed(plan.seed)
        chance = random.Random(plan.seed)  # noqa: S311
        codec = train_codec(plan.steps, chance, generator)
        tokenizer = build_tokenizer()
        model = build_musician(codec, tokenizer)
        model.audio_encoder.requires_grad_(False)
        bank = _fill_bank(codec, min(_MOST_PIECES, plan.steps * _BATCH), chance)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model.train(), bank, tokenizer, generator, chance)
        for _ in descend("decoder", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        tokenizer.save_pretrained(plan.out)
        # Halves: they are loaded in the precision that the registry names.
        learnt.to(torch.float16).save_pretrained(plan.out)


def _fill_bank(codec: Any, count: int, chance: random.Random) -> list[tuple[int, Tensor]]:
    """Pieces, by their place in PIECES, and the codes of each."""
    bank = []
    for k in range(count):
        place = k % len(PIECES)
        wave = play(PIECES[place], compose(PIECES[place], chance))
        bank.append((place, encode_pieces(codec, wave[None])[0]))
    return bank


def _losses(
    model: Any,
    bank: list[tuple[int, Tensor]],
    tokenizer: Any,
    generator: torch.Generator,
    chance: random.Random,
) -> Iterator[Tensor]:
    while True:
        chosen = [bank[k] for k in torch.randint(len(bank), (_BATCH,), generator=generator)]
        captions = [PIECES[place].caption(chance) for place, _ in chosen]
        written = delay(torch.stack([codes for _, codes in chosen]))
        text = tokenizer(
            captions, padding="max_length", max_length=LONGEST_TOKENS, return_tensors="pt"
        )
        # Without a caption there are no states at all: that is what guidance compares with.
        kept = torch.tensor([bool(caption) for caption in captions])
        mask = text.attention_mask * kept[:, None]
        states = model.text_encoder(text.input_ids, mask).last_hidden_state * kept[:, None, None]
        logits = model(
            encoder_outputs=(states,),
            attention_mask=mask,
            decoder_input_ids=written[:, :, :-1].flatten(0, 1),
        ).logits
        wanted = written[:, :, 1:].flatten()
        yield functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=CODES)


def delay(codes: Tensor) -> Tensor:
    """(N, 2, T) to (N, 2, T + 2): each codebook a step behind the one before, CODES between."""
    rows = [
        functional.pad(codes[:, book], (book + 1, CODEBOOKS - 1 - book), value=CODES)
        for book in range(CODEBOOKS)
    ]
    return torch.stack(rows, dim=1)
