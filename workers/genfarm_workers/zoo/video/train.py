"""Teaches the digit pipeline to move: its autoencoder first, then the rest of it on clips.

It starts from the weights of the digits. Method: AnimateDiff (arXiv 2307.04725), but
here the weights of the single frames learn too. Knows neither the judge nor the measuring.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.zoo.digits.data import INKS, SIZE, paint, real_digits
from genfarm_workers.zoo.digits.parts import build_scheduler
from genfarm_workers.zoo.training import Average, Plan, descend, recorded
from genfarm_workers.zoo.video.motions import FRAMES, MOTIONS, caption_clip, set_moving
from genfarm_workers.zoo.video.parts import save_clips, start_from_digits

#: Steps of the denoiser; the autoencoder takes a quarter as many.
DEFAULT_STEPS = 400

#: Clips of a step of the denoiser, frames of a step of the autoencoder.
_BATCH, _PICTURES = 4, 16
#: Half of what the digits took: these weights are no longer random.
_PEAK_RATE = 1e-3
_AVERAGE_DECAY = 0.995
#: As for the digits.
_LATENT_PULL = 2e-5
_BLACK_SHARE = 0.5
#: Most clips of the bank of latents.
_MOST_CLIPS = 800


@dataclass(frozen=True, slots=True)
class _Bank:
    """Clips encoded once."""

    #: Scaled latents, (N, 4, 8, 8, 8): channels, frames, height, width.
    latents: Tensor
    #: What each shows: digit, ink and place of its motion in MOTIONS.
    subjects: list[tuple[int, str, int]]


class _Reader(nn.Module):
    """Denoiser and text encoder as one module, since they learn together."""

    def __init__(self, denoiser: Any, text_encoder: Any) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.text_encoder = text_encoder

    def forward(self, latents: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        states = self.text_encoder(tokens).last_hidden_state.repeat_interleave(FRAMES, dim=0)
        velocity: Tensor = self.denoiser(latents, times, states).sample
        return velocity


def train_video(plan: Plan) -> None:
    with recorded("video", plan) as modules:
        generator = torch.Generator().manual_seed(plan.seed)
        chance = random.Random(plan.seed)  # noqa: S311
        autoencoder, denoiser, text_encoder, tokenizer = start_from_digits()
        autoencoder = _adapt(autoencoder, max(1, plan.steps // 4), generator, chance)
        reader = _Reader(denoiser, text_encoder).train()
        bank = _fill_bank(autoencoder, plan.steps, generator, chance)
        average = Average(reader, _AVERAGE_DECAY)
        losses = _losses(reader, bank, tokenizer, generator, chance)
        for _ in descend("denoiser", losses, reader, steps=plan.steps, peak=_PEAK_RATE):
            average.update(reader)
        learnt: Any = average.module
        modules += [autoencoder, learnt]
        save_clips(plan.out, autoencoder, learnt.denoiser, learnt.text_encoder, tokenizer)


def _adapt(autoencoder: Any, steps: int, generator: torch.Generator, chance: random.Random) -> Any:
    """To digits that are smaller and lie anywhere."""
    average = Average(autoencoder, _AVERAGE_DECAY)
    losses = _autoencoder_losses(autoencoder, generator, chance)
    for _ in descend("autoencoder", losses, autoencoder, steps=steps, peak=_PEAK_RATE):
        average.update(autoencoder)
    return average.module


def _autoencoder_losses(
    autoencoder: Any, generator: torch.Generator, chance: random.Random
) -> Iterator[Tensor]:
    while True:
        clips, _ = _film(_PICTURES, generator, chance)
        frames = torch.randint(FRAMES, (_PICTURES,), generator=generator)
        pictures = clips[torch.arange(_PICTURES), frames]
        posterior = autoencoder.encode(pictures).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        restored = autoencoder.decode(posterior.mean + posterior.std * noise).sample
        yield functional.mse_loss(restored, pictures) + posterior.kl().mean() * _LATENT_PULL


def _film(
    count: int, generator: torch.Generator, chance: random.Random
) -> tuple[Tensor, list[tuple[int, str, int]]]:
    """Clips (N, 8, 3, 32, 32) of real digits, and what each shows."""
    digits = real_digits(held_out=False)
    chosen = torch.randint(len(digits.labels), (count,), generator=generator)
    others = [name for name in INKS if name != "black"]
    inks = ["black" if chance.random() < _BLACK_SHARE else chance.choice(others) for _ in chosen]
    motions = [chance.randrange(len(MOTIONS)) for _ in chosen]
    moving = set_moving(digits.ink[chosen], [MOTIONS[place] for place in motions], generator)
    colours = torch.tensor([INKS[name] for name in inks]).repeat_interleave(FRAMES, dim=0)
    frames = paint(moving.flatten(0, 1), colours).view(count, FRAMES, 3, SIZE, SIZE)
    return frames, list(zip(digits.labels[chosen].tolist(), inks, motions, strict=True))


@torch.no_grad()
def _fill_bank(
    autoencoder: Any, steps: int, generator: torch.Generator, chance: random.Random
) -> _Bank:
    """Encode clips, as many as the steps can use; sets the autoencoder's scaling factor."""
    latents: list[Tensor] = []
    subjects: list[tuple[int, str, int]] = []
    for _ in range(0, min(_MOST_CLIPS, steps * _BATCH), _BATCH):
        clips, shown = _film(_BATCH, generator, chance)
        means = autoencoder.encode(clips.flatten(0, 1)).latent_dist.mean
        latents.append(means.unflatten(0, (_BATCH, FRAMES)).transpose(1, 2))
        subjects += shown
    bank = torch.cat(latents)
    factor = round(1 / bank.std().item(), 5)
    autoencoder.register_to_config(scaling_factor=factor)
    return _Bank(bank * factor, subjects)


def _losses(
    reader: nn.Module,
    bank: _Bank,
    tokenizer: Any,
    generator: torch.Generator,
    chance: random.Random,
) -> Iterator[Tensor]:
    scheduler = build_scheduler()
    while True:
        chosen = torch.randint(len(bank.subjects), (_BATCH,), generator=generator)
        shown = [bank.subjects[i] for i in chosen.tolist()]
        captions = [caption_clip(digit, ink, MOTIONS[place], chance) for digit, ink, place in shown]
        tokens = tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        latents = bank.latents[chosen]
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.randint(scheduler.config.num_train_timesteps, (_BATCH,), generator=generator)
        velocity = scheduler.get_velocity(latents, noise, times)
        guess = reader(scheduler.add_noise(latents, noise, times), times, tokens)
        yield functional.mse_loss(guess, velocity)
