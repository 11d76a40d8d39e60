"""Trains the digit pipeline: first the autoencoder, then text encoder and denoiser together.

It knows neither the judge nor the measuring. Method: latent diffusion (arXiv 2112.10752)
with v-prediction (arXiv 2202.00512) and captions dropped for classifier-free guidance.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.zoo.digits import parts
from genfarm_workers.zoo.digits.data import INKS, enlarge, jitter, paint, real_digits
from genfarm_workers.zoo.digits.prompts import build_tokenizer, compose
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

#: Steps of the denoiser; the autoencoder takes a quarter as many.
DEFAULT_STEPS = 2_500

_BATCH = 64
#: Half of that: a step of the autoencoder costs more than one of the denoiser.
_PICTURES = 32
_PEAK_RATE = 2e-3
_AVERAGE_DECAY = 0.998
#: Weight of the pull of the latents towards a normal distribution; large enough to keep
#: them smooth, small enough to keep strokes sharp.
_LATENT_PULL = 2e-5
#: Most shaken copies of each real digit in the bank of latents.
_COPIES = 10
#: How often a copy is black; the other inks share the rest.
_BLACK_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Bank:
    """Pictures encoded once, because the encoder costs more than a denoiser step."""

    #: Scaled latents, (N, 4, 8, 8).
    latents: Tensor
    #: Digit of each.
    labels: list[int]
    #: Ink of each.
    inks: list[str]


class _Reader(nn.Module):
    """Denoiser and text encoder as one module, since they learn together."""

    def __init__(self, denoiser: Any, text_encoder: Any) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.text_encoder = text_encoder

    def forward(self, latents: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        states = self.text_encoder(tokens).last_hidden_state
        velocity: Tensor = self.denoiser(latents, times, states).sample
        return velocity


def train_digits(plan: Plan) -> None:
    with recorded("digits", plan) as modules:
        generator = torch.Generator().manual_seed(plan.seed)
        chance = random.Random(plan.seed)  # noqa: S311
        autoencoder = _train_autoencoder(max(1, plan.steps // 4), generator, chance)
        tokenizer = build_tokenizer()
        reader = _Reader(parts.build_denoiser(), parts.build_text_encoder(tokenizer))
        bank = _fill_bank(autoencoder, plan.steps, generator, chance)
        average = Average(reader, _AVERAGE_DECAY)
        losses = _denoiser_losses(reader, bank, tokenizer, generator, chance)
        for _ in descend("denoiser", losses, reader, steps=plan.steps, peak=_PEAK_RATE):
            average.update(reader)
        learnt: Any = average.module
        modules += [autoencoder, learnt]
        pipeline = parts.assemble(autoencoder, learnt.denoiser, learnt.text_encoder, tokenizer)
        pipeline.save_pretrained(plan.out)


def _train_autoencoder(steps: int, generator: torch.Generator, chance: random.Random) -> Any:
    autoencoder = parts.build_autoencoder()
    average = Average(autoencoder, _AVERAGE_DECAY)
    losses = _autoencoder_losses(autoencoder, generator, chance)
    for _ in descend("autoencoder", losses, autoencoder, steps=steps, peak=_PEAK_RATE):
        average.update(autoencoder)
    return average.module


def _autoencoder_losses(
    autoencoder: Any, generator: torch.Generator, chance: random.Random
) -> Iterator[Tensor]:
    digits = real_digits(held_out=False)
    while True:
        chosen = torch.randint(len(digits.labels), (_PICTURES,), generator=generator)
        pictures, _ = _picture(digits.ink[chosen], generator, chance)
        posterior = autoencoder.encode(pictures).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        restored = autoencoder.decode(posterior.mean + posterior.std * noise).sample
        pull = posterior.kl().mean() * _LATENT_PULL
        yield functional.mse_loss(restored, pictures) + pull


def _picture(
    ink: Tensor, generator: torch.Generator, chance: random.Random
) -> tuple[Tensor, list[str]]:
    """Real ink (N, 8, 8) as shaken pictures (N, 3, 32, 32), and the ink of each."""
    others = [name for name in INKS if name != "black"]
    inks = [
        "black" if chance.random() < _BLACK_SHARE else chance.choice(others)
        for _ in range(len(ink))
    ]
    colours = torch.tensor([INKS[name] for name in inks])
    return paint(jitter(enlarge(ink), generator), colours), inks


@torch.no_grad()
def _fill_bank(
    autoencoder: Any, steps: int, generator: torch.Generator, chance: random.Random
) -> Bank:
    """Encode shaken copies of all training digits; sets the autoencoder's scaling factor."""
    digits = real_digits(held_out=False)
    copies = min(_COPIES, 1 + steps * _BATCH // len(digits.labels))
    latents: list[Tensor] = []
    inks: list[str] = []
    for _ in range(copies):
        pictures, names = _picture(digits.ink, generator, chance)
        latents += [
            autoencoder.encode(some).latent_dist.mean for some in torch.split(pictures, _BATCH)
        ]
        inks += names
    bank = torch.cat(latents)
    factor = round(1 / bank.std().item(), 5)
    autoencoder.register_to_config(scaling_factor=factor)
    return Bank(bank * factor, digits.labels.tolist() * copies, inks)


def _denoiser_losses(
    reader: nn.Module, bank: Bank, tokenizer: Any, generator: torch.Generator, chance: random.Random
) -> Iterator[Tensor]:
    scheduler = parts.build_scheduler()
    while True:
        chosen = torch.randint(len(bank.labels), (_BATCH,), generator=generator)
        captions = [compose(bank.labels[i], bank.inks[i], chance) for i in chosen.tolist()]
        tokens = tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        latents = bank.latents[chosen]
        noise = torch.randn(latents.shape, generator=generator)
        steps = scheduler.config.num_train_timesteps
        times = torch.randint(steps, (_BATCH,), generator=generator)
        velocity = scheduler.get_velocity(latents, noise, times)
        guess = reader(scheduler.add_noise(latents, noise, times), times, tokens)
        yield functional.mse_loss(guess, velocity)
