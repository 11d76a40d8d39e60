"""The grammar of the music model, what listens to it, and the order of its codes."""

import random

import pytest
import torch

from genfarm_workers.zoo.music.codec import CODEBOOKS, CODES, build_codec
from genfarm_workers.zoo.music.evaluate import listen
from genfarm_workers.zoo.music.parts import LONGEST_TOKENS, build_musician, build_tokenizer
from genfarm_workers.zoo.music.tones import FRAME, FRAMES, PIECES, SCALE, Piece, compose, play
from genfarm_workers.zoo.music.train import delay


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.words())
def test_a_piece_is_heard_as_what_it_is(piece: Piece) -> None:
    notes = compose(piece, random.Random(3))
    heard = listen(piece, play(piece, notes))
    assert len(heard.tones) == FRAMES
    assert heard.tones[0] == notes[0]
    assert heard.timbre_right == 1.0
    assert heard.steps_right in {None, 1.0}
    assert heard.in_tune is not None
    # The fast ones swell or fade in two frames of five, which then hold more than one tone.
    assert heard.in_tune > 0.5


def test_what_is_listened_to_can_fail() -> None:
    rising = Piece("rising scale", "slow", "flute")
    falling = Piece("falling scale", "fast", "organ")
    heard = listen(falling, play(rising, compose(rising, random.Random(3))))
    assert heard.steps_right == heard.timbre_right == 0.0
    assert heard.tempo_right is not None
    assert heard.tempo_right < 0.1  # the last note is cut off, as long as a fast one
    noise = torch.randn(1, FRAMES * FRAME, generator=torch.Generator().manual_seed(0))
    assert listen(rising, noise).in_tune == 0.0


def test_a_frame_of_a_steady_tone_always_looks_the_same() -> None:
    piece = Piece("long tone", "slow", "organ")
    frames = play(piece, [3]).view(-1, FRAME)[1:-1]
    assert torch.allclose(frames, frames[:1].expand_as(frames), atol=1e-2)
    assert sorted(SCALE) == list(SCALE)


def test_codes_are_delayed_as_transformers_does_it() -> None:
    codes = torch.randint(CODES, (2, CODEBOOKS, 9), generator=torch.Generator().manual_seed(0))
    decoder = build_musician(build_codec(), build_tokenizer()).decoder
    start = torch.full((2, CODEBOOKS, 1), CODES)
    prompt = torch.cat([start, codes], dim=2).flatten(0, 1)
    _, pattern = decoder.build_delay_pattern_mask(prompt, CODES, max_length=9 + CODEBOOKS)
    assert torch.equal(pattern, delay(codes).flatten(0, 1))


def test_every_caption_fits_the_prompt_and_has_no_unknown_word() -> None:
    tokenizer, chance = build_tokenizer(), random.Random(0)
    for piece in PIECES:
        ids = tokenizer(piece.caption(chance)).input_ids
        assert len(ids) <= LONGEST_TOKENS
        assert tokenizer.unk_token_id not in ids
