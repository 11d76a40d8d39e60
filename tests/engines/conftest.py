"""Tiny random models of the real classes, and engines run to the end of their tasks."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine, Output

from .fakes import TEXTS, Claimer, Runner


@pytest.fixture(scope="session", autouse=True)
def _quiet_torch() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def claim() -> Claimer:
    """`claim("a", "text-generation", "tiny", prompt="x")`, checked like a client's."""

    def make(task_id: str, kind: str, model: str, **values: Any) -> Claim:
        params = check_params(find_kind(kind), values)
        return Claim(
            task_id=task_id,
            job_id="job",
            attempt=1,
            kind=find_kind(kind).name,
            model=model,
            batch_key=batch_key(model, params),
            rows=params.rows(),
            params=params.model_dump(),
            seed=values.get("seed", 0),
        )

    return make


@pytest.fixture
def run() -> Runner:
    """All outputs by task id, tasks admitted in order as rows come free."""

    def run_all(engine: Engine, claims: Sequence[Claim]) -> dict[str, Output]:
        waiting, outputs, now = list(claims), list[Output](), 0.0
        while waiting or engine.wakes_at(now) is not None:
            while waiting and waiting[0].rows <= engine.free_rows(waiting[0].batch_key):
                engine.admit([waiting.pop(0)])
            outputs += engine.step(now)
            now += 1.0
        return {output.task_id: output for output in outputs}

    return run_all


def _tokenizer() -> Any:
    """Byte-level BPE, so that any text can be said and a character may span tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|end|>", eos_token="<|end|>")


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two layers with logits wide enough to make texts differ."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("tiny-gpt2")
    tokenizer = _tokenizer()
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=64,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bloom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose attention takes no slots."""
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    folder = tmp_path_factory.mktemp("tiny-bloom")
    tokenizer = _tokenizer()
    torch.manual_seed(1)
    config = BloomConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    BloomForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def text_engine(text_folder: Path, entry: Callable[..., ModelEntry]) -> Callable[..., Any]:
    """A loaded text engine on the tiny model, with other values of its registry entry."""

    def make(**values: Any) -> Any:
        from genfarm_workers.engines.text import TextEngine

        options = {"source": str(text_folder), "dtype": "float32", **values}
        engine = TextEngine(entry("tiny", "text-generation", "text", **options))
        engine.load()
        return engine

    return make


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Stable Diffusion pipeline that draws 32x32."""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("tiny-sd")
    torch.manual_seed(1)
    words = folder / "words"
    words.mkdir()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    (words / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(entries)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"))
    tokenizer.model_max_length = 16
    text = CLIPTextConfig(
        vocab_size=len(entries),
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=16,
        bos_token_id=52,
        eos_token_id=53,
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 32),
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            block_out_channels=(16, 32),
            norm_num_groups=8,
            layers_per_block=1,
            sample_size=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


@pytest.fixture
def entry() -> Callable[..., ModelEntry]:
    """A registry entry; float32 and four slots unless told otherwise."""

    def make(key: str, kind: str, engine: str, **values: Any) -> ModelEntry:
        return ModelEntry(**{"key": key, "kind": kind, "engine": engine, "slots": 4, **values})

    return make
