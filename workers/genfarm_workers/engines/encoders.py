"""Loads a model that reads whole texts, with its tokenizer, and makes its inputs.

Knows files, precision, token limits and widths. What the model says of a text, and what
becomes of it, is its engine's affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.blocks import head
from genfarm_workers.engines.exported import StandIn
from genfarm_workers.engines.heads import widen
from genfarm_workers.engines.language import pad_ids, tensor_of
from genfarm_workers.engines.loading import Files, load_both
from genfarm_workers.engines.portable import ExportParts, OneOutput
from genfarm_workers.engines.quicken import quicken

#: Tokens of the narrowest batch. Widths double from here: few shapes, and of texts of all
#: lengths a quarter is padding.
NARROWEST = 16
#: Tokens for a model whose files name no limit.
_CONTEXT_UNKNOWN = 512
#: Texts of different lengths that an export is tried with.
_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A loaded model that takes a text at once, ready to run."""

    key: str
    model: Any
    tokenizer: Any
    device: str
    #: Fills a text up. A decoder's classifier finds a text's last token by it.
    padding_id: int
    #: Most tokens of a text, those that begin and end it included.
    context: int
    #: Whether a longer text is cut; else it is refused.
    is_cutting: bool

    @property
    def example(self) -> list[int]:
        """Tokens of a text of the narrowest width, whatever they say."""
        return list(range(min(NARROWEST, self.context, self.model.config.vocab_size)))

    @property
    def modules(self) -> list[Any]:
        """Those whose weights can be moved."""
        return [] if isinstance(self.model, StandIn) else [self.model]

    def parts(self, output: str) -> ExportParts:
        """Ids and mask, each (B, tokens), to that field of what the model says."""
        length, vocabulary = len(self.example), self.model.config.vocab_size
        texts = [
            [(7919 * (start + place) + 13) % vocabulary for place in range(length - start)]
            for start in range(min(_EXAMPLES, length))
        ]
        batch = self.batch(texts)
        module = OneOutput(self.model, list(batch), output)
        return ExportParts(module, batch, {name: {1: "tokens"} for name in batch}, output)

    def encode(self, text: str) -> list[int] | Failure:
        """Token ids, or why the text is none for this model."""
        limit = {"truncation": True, "max_length": self.context} if self.is_cutting else {}
        # Not verbose: of a text that is too long the failure tells, not a warning.
        ids: list[int] = self.tokenizer(text, verbose=False, **limit)["input_ids"]
        if not ids:
            return Failure("invalid_params", f"text holds no token for model {self.key!r}")
        if len(ids) > self.context:
            return Failure("invalid_params", self._too_long(len(ids)))
        return ids

    def width_of(self, ids: Sequence[int]) -> int:
        """Columns of the batch that the text is run in, by its own length alone."""
        return min(self.context, max(NARROWEST, 1 << (len(ids) - 1).bit_length()))

    def batch(self, texts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """What the model takes for texts of one width: ids and mask, each (B, width)."""
        width = self.width_of(texts[0])
        ids = [[*text, *[self.padding_id] * (width - len(text))] for text in texts]
        mask = [pad_ids([1] * len(text), width) for text in texts]
        return {
            "input_ids": tensor_of(ids, self.device),
            "attention_mask": tensor_of(mask, self.device),
        }

    def _too_long(self, tokens: int) -> str:
        return (
            f"text has {tokens} tokens, model {self.key!r} takes {self.context}. Shorten it, cut "
            "it into several tasks, or have the model's registry entry say truncate = true below "
            f"{head('models', self.key, 'limits')}, and only the first {self.context} tokens count"
        )


def load_encoder(
    entry: ModelEntry,
    device: str,
    auto: Any,
    below: str = "",
    most: int | None = None,
    unused: tuple[str, ...] = (),
) -> TextEncoder:
    """Through one of transformers' Auto classes. Raises ModelUnavailable, saying what is missing.

    Its files lie `below` the model's folder; `most` is a limit of tokens that the folder names
    outside of them; for `unused` see `load_whole`.
    """
    from transformers import AutoTokenizer

    files = Files(entry, device, below, unused)
    tokenizer, model = load_both(files, AutoTokenizer, auto)
    if not isinstance(model, StandIn):
        model = widen(quicken(model))
    return TextEncoder(
        key=entry.key,
        model=model,
        tokenizer=tokenizer,
        device=device,
        padding_id=_padding_id(model, tokenizer),
        context=_context(entry, model, tokenizer, most),
        is_cutting=bool(entry.limits.get("truncate", False)),
    )


def check_padding(encoder: TextEncoder) -> None:
    """For classifiers: those of decoders score the last token, which they tell by the padding.

    Without a padding token they raise for two texts, and for one would score the padding.
    Raises ModelUnavailable.
    """
    if _own_padding(encoder.model) is not None:
        return
    encoder.model.config.get_text_config().pad_token_id = None
    try:
        with torch.inference_mode():
            encoder.model(**encoder.batch([encoder.example] * 2))
    except ValueError as error:
        raise ModelUnavailable(
            f"model {encoder.key!r}: {type(encoder.model).__name__} scores the last token of a "
            "text, and nothing says what fills a text up behind it. Name pad_token_id in its "
            "config.json"
        ) from error


def _own_padding(model: Any) -> int | None:
    named = model.config.get_text_config().pad_token_id
    return None if named is None or named < 0 else int(named)


def _padding_id(model: Any, tokenizer: Any) -> int:
    own = _own_padding(model)
    return (tokenizer.pad_token_id or 0) if own is None else own


def _context(entry: ModelEntry, model: Any, tokenizer: Any, most: int | None) -> int:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None:
        positions -= _positions_lost(model)
    named = (positions, tokenizer.model_max_length, most, entry.limits.get("context"))
    known = [int(limit) for limit in named if limit is not None and limit < 1e9]
    return min(known, default=_CONTEXT_UNKNOWN)


def _positions_lost(model: Any) -> int:
    """RoBERTa and its kin count positions from behind the padding token's number."""
    embeddings = getattr(model.base_model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1
