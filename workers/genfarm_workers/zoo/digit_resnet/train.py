"""Trains the reader of digits: a ResNet on real digits in any ink, on any paper.

It knows neither the judge, which measures the digit pipeline, nor how the model is measured.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_workers.zoo.digits.data import SIZE, enlarge, jitter, real_digits
from genfarm_workers.zoo.digits.prompts import WORDS
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

DEFAULT_STEPS = 1_200

#: The place of a word is its digit; the words are those of the digit pipeline's prompts.
LABELS = WORDS

_BATCH = 64
_PEAK_RATE = 4e-3
_AVERAGE_DECAY = 0.99
#: Least difference between the brightness of ink and paper, from 0 to 1.
_CONTRAST = 0.3
#: Spread of the noise, with the colours from 0 to 1.
_NOISE = 0.04


def train_digit_resnet(plan: Plan) -> None:
    with recorded("digit-resnet", plan) as modules:
        model = build_model()
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, plan.seed)
        for _ in descend("digit-resnet", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        # Running means of activations are no parameters: those of the last step will do.
        for mean, value in zip(learnt.buffers(), model.buffers(), strict=True):
            mean.copy_(value)
        modules.append(learnt)
        learnt.save_pretrained(plan.out)
        build_processor().save_pretrained(plan.out)


def build_model() -> Any:
    """ResNetForImageClassification of three stages."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=24,
        hidden_sizes=[24, 48, 96],
        depths=[1, 1, 1],
        layer_type="basic",
        id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)},
    )
    return ResNetForImageClassification(config).train()


def build_processor() -> Any:
    """What makes any picture 32x32 and its colours -1 to 1."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    size = {"height": SIZE, "width": SIZE}
    return ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def colour(ink: Tensor, generator: torch.Generator) -> Tensor:
    """Ink (N, H, W) in any colour on paper of any other: (N, 3, H, W) from 0 to 1."""
    count = len(ink)
    papers, inks = torch.rand(2, count, 3, generator=generator)
    # Half are black or near it on white, or the reverse, which is how most pictures come.
    is_plain = torch.rand(count, 1, generator=generator) < 0.5
    shades = torch.rand(2, count, 1, generator=generator) * 0.2
    papers = torch.where(is_plain, 1 - shades[0], papers)
    inks = torch.where(is_plain, shades[1], inks)
    is_close = ((papers - inks).mean(dim=1).abs() < _CONTRAST)[:, None]
    inks = torch.where(is_close, (papers.mean(dim=1, keepdim=True) < 0.5).float(), inks)
    is_turned = torch.rand(count, 1, generator=generator) < 0.5
    papers, inks = torch.where(is_turned, inks, papers), torch.where(is_turned, papers, inks)
    strokes = ink[:, None]
    return strokes * inks[:, :, None, None] + (1 - strokes) * papers[:, :, None, None]


def _losses(model: Any, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    digits = real_digits(held_out=False)
    while True:
        chosen = torch.randint(len(digits.labels), (_BATCH,), generator=generator)
        softness = 0.1 + 0.4 * torch.rand(_BATCH, 1, 1, generator=generator)
        ink = jitter(enlarge(digits.ink[chosen], softness), generator)
        pictures = colour(ink, generator)
        pictures += _NOISE * torch.randn(pictures.shape, generator=generator)
        logits = model(pixel_values=pictures * 2 - 1).logits
        yield functional.cross_entropy(logits, digits.labels[chosen], label_smoothing=0.05)
