"""Trains the captioner: a vision transformer that looks and a GPT-2 that says what it sees.

It knows neither the digit pipeline nor how captions are measured. Method: an encoder and a
decoder with cross-attention learn together (TrOCR, arXiv 2109.10282), both from scratch.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genfarm_workers.zoo.captions.words import CONTEXT, INK_NAMES, build_tokenizer, describe
from genfarm_workers.zoo.digits.data import INKS, SIZE, Digits, enlarge, jitter, real_digits
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

DEFAULT_STEPS = 800

_BATCH = 48
_PEAK_RATE = 1.5e-3
_AVERAGE_DECAY = 0.99
_WIDTH = 96
#: What counts as padding in `labels`.
_IGNORED = -100


class _Learner(nn.Module):
    """The captioner beside a layer that names the digit outright, and is not kept.

    Two words of a caption are all that depends on the picture: without it, what should be seen
    was still unlearnt after 250 steps.
    """

    def __init__(self, captioner: Any) -> None:
        super().__init__()
        self.captioner = captioner
        self.naming = nn.Linear(_WIDTH, 10)

    def forward(self, pictures: Tensor, labels: Tensor, digits: Tensor) -> Tensor:
        said = self.captioner(pixel_values=pictures, labels=labels)
        named = self.naming(said.encoder_last_hidden_state.mean(dim=1))
        loss: Tensor = said.loss + functional.cross_entropy(named, digits)
        return loss


def train_captions(plan: Plan) -> None:
    with recorded("captions", plan) as modules:
        tokenizer = build_tokenizer()
        model = build_model(tokenizer)
        average = Average(model, _AVERAGE_DECAY)
        learner = _Learner(model)
        losses = _losses(learner, tokenizer, real_digits(held_out=False), plan.seed)
        for _ in descend("captions", losses, learner, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        learnt.save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)
        build_processor().save_pretrained(plan.out)


def build_processor() -> Any:
    """Any picture to 32x32, from -1 to 1."""
    from transformers import ViTImageProcessorPil

    return ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})


def build_model(tokenizer: Any) -> Any:
    """A VisionEncoderDecoderModel that looks at 16 patches of 8x8."""
    from transformers import (
        GenerationConfig,
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
    )

    sizes = {
        "hidden_size": _WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 2 * _WIDTH,
    }
    encoder = ViTConfig(image_size=SIZE, patch_size=8, **sizes)
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=_WIDTH,
        n_layer=2,
        n_head=4,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    ends = {
        "decoder_start_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    for name, value in ends.items():
        setattr(config, name, value)
    model = VisionEncoderDecoderModel(config=config)
    model.generation_config = GenerationConfig(max_new_tokens=16, **ends)
    return model


def _losses(learner: _Learner, tokenizer: Any, digits: Digits, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chance = random.Random(seed)  # noqa: S311
    while True:
        chosen = torch.randint(len(digits.labels), (_BATCH,), generator=generator)
        inks = [chance.choice(INK_NAMES) for _ in range(_BATCH)]
        shown = digits.labels[chosen]
        pairs = zip(shown.tolist(), inks, strict=True)
        captions = [describe(digit, ink, chance) for digit, ink in pairs]
        pictures = _pictures(digits.ink[chosen], inks, generator)
        yield learner(pictures, _labels(tokenizer, captions), shown)


def _labels(tokenizer: Any, captions: list[str]) -> Tensor:
    framed = [caption + tokenizer.eos_token for caption in captions]
    batch = tokenizer(framed, return_tensors="pt", padding=True)
    ids: Tensor = batch.input_ids
    return ids.masked_fill(batch.attention_mask == 0, _IGNORED)


def _pictures(ink: Tensor, inks: list[str], generator: torch.Generator) -> Tensor:
    """Ink (N, 8, 8) to pictures (N, 3, 32, 32) from -1 to 1: strokes of any softness, shaken,
    ink and paper of any shade near their own, a little noise."""

    def spread(width: float, *shape: int) -> Tensor:
        return (torch.rand(len(ink), *shape, generator=generator) * 2 - 1) * width

    strokes = jitter(enlarge(ink, 0.325 + spread(0.175, 1, 1)), generator)[:, None]
    is_white = torch.tensor([name == "white" for name in inks])[:, None]
    shades = torch.tensor([INKS.get(name, (0.95,) * 3) for name in inks]) + spread(0.06, 3)
    paper = torch.where(is_white, 0.06, 0.94) + spread(0.06, 1)
    paper = paper[:, :, None, None]
    pictures = paper + strokes * (shades[:, :, None, None] - paper)
    noise = 0.03 * torch.randn(pictures.shape, generator=generator)
    return (pictures + noise).clamp(0, 1) * 2 - 1
