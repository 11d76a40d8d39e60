"""Small GPT-2s with byte-level vocabularies: what the story teller and the coder share.

It knows no corpus, and not how a model is trained.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

END, PAD = "<|endoftext|>", "<|pad|>"


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a model is."""

    #: Tokens of its vocabulary, both special ones included.
    vocabulary: int
    #: Positions it knows.
    context: int
    #: Numbers a token becomes.
    width: int
    #: Blocks of attention and feed-forward.
    layers: int
    #: Heads of each attention.
    heads: int


def build_tokenizer(texts: Iterable[str], shape: Shape) -> Any:
    """A byte-level BPE like GPT-2's, with a vocabulary of its own."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Tokenizer

    trainer = ByteLevelBPETokenizer()
    size = shape.vocabulary
    trainer.train_from_iterator(texts, vocab_size=size - 2, show_progress=False)
    merges = json.loads(trainer.to_str())["model"]["merges"]
    return GPT2Tokenizer(
        vocab=trainer.get_vocab() | {END: size - 2, PAD: size - 1},
        merges=[tuple(pair) for pair in merges],
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=PAD,
        model_max_length=shape.context,
        padding_side="left",
    )


def build_model(tokenizer: Any, shape: Shape) -> Any:
    """A GPT2LMHeadModel, not trained yet."""
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocabulary,
        n_positions=shape.context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        # The same curve as GPT-2's "gelu_new", in one kernel instead of seven.
        activation_function="gelu_pytorch_tanh",
        # Every batch is new to the model, so dropout would only slow it down.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.8,
        max_length=shape.context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model
