"""The parts of the video pipeline: those of the digits, and what makes them move.

AnimateDiff (arXiv 2307.04725): a picture's denoiser with attention between
the frames put in. All classes are the stock ones of diffusers, so that the
saved directory loads like any AnimateDiff. Knows no data and no training.
"""

import json
from pathlib import Path
from typing import Any

import torch

from genfarm_workers import zoo
from genfarm_workers.zoo.video.motions import FRAMES, NEW_WORDS

#: Weights are stored as halves; they are loaded in the precision that the registry names.
_STORED = torch.float16


def start_from_digits() -> tuple[Any, Any, Any, Any]:
    """Autoencoder, denoiser of clips, text encoder and tokenizer; nothing moves as yet."""
    from diffusers import AutoencoderKL, UNetMotionModel
    from tokenizers import AddedToken
    from transformers import CLIPTextModel, CLIPTokenizer

    digits = zoo.path("digits")
    autoencoder = AutoencoderKL.from_pretrained(digits, subfolder="vae")
    still = _still(digits)
    denoiser = UNetMotionModel.from_unet2d(still, _build_adapter(still.config))
    for name, part in denoiser.named_modules():
        if name.endswith("proj_out") and "motion_modules" in name:
            # Each frame by itself at first, which the digits' denoiser does well.
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
    tokenizer = CLIPTokenizer.from_pretrained(digits, subfolder="tokenizer")
    tokenizer.add_tokens([AddedToken(word, single_word=True) for word in NEW_WORDS])
    text_encoder = CLIPTextModel.from_pretrained(digits, subfolder="text_encoder")
    text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return autoencoder, denoiser, text_encoder, tokenizer


def save_clips(
    directory: Path, autoencoder: Any, denoiser: Any, text_encoder: Any, tokenizer: Any
) -> None:
    """A denoiser of single pictures with a motion adapter beside it, as AnimateDiff ships.

    The pipeline's own way of saving writes the adapter's weights twice.
    """
    from diffusers import AnimateDiffPipeline

    from genfarm_workers.zoo.digits.parts import build_scheduler

    still = _still(zoo.path("digits"))
    adapter = _build_adapter(still.config)
    for part in (still, adapter):
        part.load_state_dict({name: denoiser.state_dict()[name] for name in part.state_dict()})
    AnimateDiffPipeline(
        vae=autoencoder.to(_STORED),
        text_encoder=text_encoder.to(_STORED),
        tokenizer=tokenizer,
        unet=denoiser,
        motion_adapter=adapter.to(_STORED),
        scheduler=build_scheduler(),
    ).save_pretrained(directory)
    still.to(_STORED).save_pretrained(directory / "unet")
    index = directory / "model_index.json"
    said = json.loads(index.read_text())
    index.write_text(json.dumps({**said, "unet": ["diffusers", type(still).__name__]}, indent=2))
    for config in directory.glob("*/config.json"):
        # Where a part was loaded from on this machine says nothing on another.
        parts = json.loads(config.read_text())
        parts.pop("_name_or_path", None)
        config.write_text(json.dumps(parts, indent=2) + "\n")


def _still(digits: Path) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(digits, subfolder="unet")


def _build_adapter(config: Any) -> Any:
    """Attention between the frames for a denoiser of that configuration."""
    from diffusers import MotionAdapter

    return MotionAdapter(
        block_out_channels=tuple(config.block_out_channels),
        motion_layers_per_block=config.layers_per_block,
        motion_num_attention_heads=4,
        motion_norm_num_groups=config.norm_num_groups,
        motion_max_seq_length=2 * FRAMES,
    )
