"""Models of known shapes with random weights, made in place: GPT-2 124M, Stable Diffusion 1.5.

A speed does not depend on the weights' values unless they are zero, so nothing
is downloaded. `tiny` shapes have the same parts and fit a test.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

#: Of GPT-2 124M (Radford et al. 2019), and of one that fits a test.
GPT2 = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
TINY_GPT2 = {"vocab_size": 320, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
#: Bytes of a logit that a decode step cannot avoid: written and read once in bfloat16.
LOGIT_BYTES = 4
#: Bytes of a weight and of a number in the KV cache, bfloat16.
HALF = 2
_END = "<|endoftext|>"


def make_text_model(folder: Path, *, tiny: bool) -> dict[str, float]:
    """GPT-2 and a byte tokenizer in that folder; what a decode step must move, in bytes."""
    from tokenizers import pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    shape = TINY_GPT2 if tiny else GPT2
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"<{number}>" for number in range(shape["vocab_size"] - len(letters) - 1)]
    words = [*letters, *fillers, _END]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = GPT2Tokenizer(
        vocab=vocabulary, merges=[], bos_token=_END, eos_token=_END, unk_token=_END, pad_token=_END
    )
    end = vocabulary[_END]
    torch.manual_seed(1)
    config = GPT2Config(
        **shape,
        bos_token_id=end,
        eos_token_id=end,
        # The curve of GPT-2's "gelu_new" in one kernel instead of eight.
        activation_function="gelu_pytorch_tanh",
    )
    model = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        "weight_bytes": HALF * float(sum(p.numel() for p in model.parameters())),
        "kv_bytes_per_token": HALF * 2.0 * shape["n_layer"] * shape["n_embd"],
        "logit_bytes_per_row": LOGIT_BYTES * float(shape["vocab_size"]),
    }


def make_image_model(folder: Path, device: str, *, tiny: bool) -> dict[str, float]:
    """A Stable Diffusion 1.5 pipeline in that folder; floating-point operations of its parts."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as Denoiser

    shape = _tiny_shape() if tiny else _sd15_shape()
    torch.manual_seed(1)
    with torch.device(device):  # a minute on a CPU
        denoiser, decoder = Denoiser(**shape["unet"]), AutoencoderKL(**shape["vae"])
        text_encoder, tokenizer = _text_parts(folder, shape["text"])
    pipeline = StableDiffusionPipeline(
        vae=decoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    if device == "cuda":
        pipeline.to(dtype=torch.bfloat16)
    pipeline.save_pretrained(folder)
    return _count_operations(shape, Denoiser, AutoencoderKL)


def _count_operations(
    shape: Mapping[str, Any], denoiser: Any, autoencoder: Any
) -> dict[str, float]:
    """Of one latent through the denoiser once, and through the decoder; nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    side, width = shape["unet"]["sample_size"], shape["unet"]["cross_attention_dim"]
    with torch.device("meta"), torch.no_grad():
        unet, vae = denoiser(**shape["unet"]), autoencoder(**shape["vae"])
        latent = torch.randn(1, 4, side, side)
        states = torch.randn(1, shape["text"]["max_position_embeddings"], width)
        with FlopCounterMode(display=False) as step:
            unet(latent, torch.ones(1), encoder_hidden_states=states)
        with FlopCounterMode(display=False) as decode:
            vae.decode(latent)
    return {
        "step_flops": float(step.get_total_flops()),
        "decode_flops": float(decode.get_total_flops()),
    }


def _text_parts(folder: Path, shape: Mapping[str, Any]) -> tuple[Any, Any]:
    """CLIP's text encoder and a tokenizer of letters."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", _END]
    place = folder / "words"
    place.mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    (place / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (place / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt"))
    tokenizer.model_max_length = shape["max_position_embeddings"]
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    return CLIPTextModel(CLIPTextConfig(**shape, **ends)), tokenizer


def _sd15_shape() -> dict[str, Any]:
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    channels = (320, 640, 1280, 1280)
    return {
        "unet": {
            "sample_size": 64,
            "layers_per_block": 2,
            "block_out_channels": channels,
            "down_block_types": down,
            "up_block_types": up,
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
        },
        "vae": _vae((128, 256, 512, 512), layers=2, groups=32, size=512),
        "text": {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "max_position_embeddings": 77,
        },
    }


def _tiny_shape() -> dict[str, Any]:
    return {
        "unet": {
            "sample_size": 8,
            "layers_per_block": 1,
            "block_out_channels": (16, 32),
            "norm_num_groups": 8,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 32,
            "attention_head_dim": 4,
        },
        "vae": _vae((16, 32), layers=1, groups=8, size=16),
        "text": {
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "max_position_embeddings": 16,
        },
    }


def _vae(channels: tuple[int, ...], *, layers: int, groups: int, size: int) -> dict[str, Any]:
    return {
        "block_out_channels": channels,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "sample_size": size,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
    }
