"""Loads a model that says in words what it sees, and asks it for whole batches of captions.

Two families: vision-encoder-decoder models, whatever they are put together from, and BLIP. They
differ in how a caption begins and ends. Knows pixels and tokens; no file and no task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.language import context_of, eos_ids_of, tensor_of
from genfarm_workers.engines.loading import load_whole
from genfarm_workers.engines.weights import choose_dtype, find_weights, quiet_libraries

_FAMILIES = ("vision-encoder-decoder", "blip")
#: A decoder looks at an encoder's states; TrOCR comes without.
_UNUSED = ("pooler",)


@dataclass(frozen=True, slots=True)
class Captioner:
    """A loaded model, ready to run."""

    key: str
    model: Any
    #: Any picture to the model's own size.
    processor: Any
    tokenizer: Any
    device: str
    #: Tokens of a whole caption.
    context: int
    #: What every caption begins with.
    start_id: int
    eos_ids: frozenset[int]

    def see(self, picture: Image.Image) -> torch.Tensor:
        """(3, H, W) as the model takes it, on the host."""
        pixels: torch.Tensor = self.processor(picture, return_tensors="pt").pixel_values[0]
        return pixels

    def begin(self, prompt: str) -> list[int]:
        """The tokens that a caption with that beginning starts with."""
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        return [self.start_id, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    @torch.inference_mode()
    def generate(
        self, pixels: torch.Tensor, beginnings: Sequence[Sequence[int]], **options: Any
    ) -> torch.Tensor:
        """Pixels (B, 3, H, W) and B beginnings of one length through `generate`: (B, T) tokens."""
        pixels = pixels.to(self.device, self.model.dtype)
        if self.model.config.model_type == "blip":
            # It sets the first token itself, and takes the last for the end that a tokenizer adds.
            ids = [[*beginning, 0] for beginning in beginnings]
            named = {"input_ids": tensor_of(ids, self.device)}
        else:
            named = {"decoder_input_ids": tensor_of(beginnings, self.device)}
        tokens: torch.Tensor = self.model.generate(pixel_values=pixels, **named, **options)
        return tokens


def load_captioner(entry: ModelEntry, device: str) -> Captioner:
    """Raises ModelUnavailable, saying what is missing."""
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    folder = find_weights(entry)
    quiet_libraries()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        _check_family(entry, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
        dtype = choose_dtype(entry, device)
        model = load_whole(entry.key, AutoModelForImageTextToText, folder, dtype, _UNUSED)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} holds no captioner with image processor and tokenizer "
            f"that transformers can load ({type(error).__name__}: {error}). Correct source in "
            "models.toml"
        ) from error
    return _captioner(entry, model.to(device).eval(), processor, tokenizer, device)


def _check_family(entry: ModelEntry, folder: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.model_type not in _FAMILIES:
        raise ModelUnavailable(
            f"model {entry.key!r}: the caption engine runs {' and '.join(_FAMILIES)} models, and "
            f"{folder} is of type {config.model_type!r}. Correct source in models.toml"
        )


def _captioner(
    entry: ModelEntry, model: Any, processor: Any, tokenizer: Any, device: str
) -> Captioner:
    config, own = model.config, model.generation_config
    if config.model_type == "blip":
        text = config.text_config
        start, ends = text.bos_token_id, frozenset([text.sep_token_id])
    else:
        named = (own.decoder_start_token_id, own.bos_token_id, tokenizer.bos_token_id)
        start = next((name for name in named if name is not None), None)
        ends = eos_ids_of(own, tokenizer)
    if start is None:
        raise ModelUnavailable(
            f"model {entry.key!r}: nothing says how a caption begins. Name "
            "decoder_start_token_id in its generation_config.json"
        )
    context = context_of(entry, config)
    return Captioner(entry.key, model, processor, tokenizer, device, context, int(start), ends)
