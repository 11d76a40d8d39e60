"""A Stable Diffusion pipeline with random weights, made in place.

Of the real parts and in their proportions, small enough for a CPU. Speed does
not depend on what weights say; pictures of them are noise. Knows no benchmark.
"""

import json
from pathlib import Path
from typing import Any

#: Tokens of a prompt, as in the real one.
_WORDS = 77


def make_diffusion(folder: Path, widths: tuple[int, int], latent_side: int) -> Path:
    """Write a pipeline that draws squares of 4 times `latent_side` pixels; returns its folder."""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    torch.manual_seed(1)
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 32, 32),
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
        ),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(folder),
        unet=UNet2DConditionModel(
            block_out_channels=widths,
            layers_per_block=2,
            sample_size=latent_side,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=64,
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def _text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=54,
            hidden_size=64,
            intermediate_size=256,
            num_attention_heads=4,
            num_hidden_layers=4,
            max_position_embeddings=_WORDS,
            bos_token_id=52,
            eos_token_id=53,
        )
    )


def _tokenizer(folder: Path) -> Any:
    """One that knows letters."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({word: place for place, word in enumerate(words)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(vocabulary), str(merges))
    tokenizer.model_max_length = _WORDS
    return tokenizer
