"""The parts of the digit pipeline: their shapes, and how they are put together.

It knows no data and no training. All classes are the stock ones of diffusers and
transformers, so that the saved directory loads like any Stable Diffusion.
"""

from typing import Any

from genfarm_workers.zoo.digits.data import SIZE
from genfarm_workers.zoo.digits.prompts import LONGEST_TOKENS

#: Numbers per text token; the denoiser's cross-attention reads them.
_TEXT_WIDTH = 64

#: Latents of a picture: (4, 8, 8).
LATENT_CHANNELS, LATENT_SIZE = 4, 8


def build_autoencoder() -> Any:
    """AutoencoderKL: pictures (N, 3, 32, 32) to latents (N, 4, 8, 8) and back."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=SIZE,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(12, 24, 48),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def build_denoiser() -> Any:
    """UNet2DConditionModel over latents (N, 4, 8, 8), at 8x8 with text and at 4x4 without."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(40, 80),
        layers_per_block=1,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_text_encoder(tokenizer: Any) -> Any:
    """CLIPTextModel: token ids (N, 24) to states (N, 24, 64)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LONGEST_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_scheduler() -> Any:
    """DDIM (arXiv 2010.02502) on a cosine schedule; v-prediction stays sound at its noisy end."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def assemble(autoencoder: Any, denoiser: Any, text_encoder: Any, tokenizer: Any) -> Any:
    """The parts as one StableDiffusionPipeline, without a safety checker."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=autoencoder.eval(),
        unet=denoiser.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
