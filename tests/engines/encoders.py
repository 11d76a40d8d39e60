"""Tiny random encoders of texts and classifiers of pictures, saved as their stock classes do."""

from pathlib import Path
from typing import Any

SENTENCE = (
    "I love hate this product it is not very good bad terrible and but the film was of a "
    "soup cold warm they said nothing about"
)
WORDS = SENTENCE.split()


def save_text_model(folder: Path, **values: Any) -> Path:
    """A BertForSequenceClassification whose scores differ from text to text."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(1)
    config = _bert_config(id2label={0: "bad", 1: "so-so", 2: "good"}, **values)
    BertForSequenceClassification(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def save_decoder(folder: Path, **values: Any) -> Path:
    """A GPT2ForSequenceClassification, as causal models and reward models are fine-tuned."""
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    torch.manual_seed(1)
    ends = {"bos_token_id": 2, "eos_token_id": 3}
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
    config = GPT2Config(vocab_size=len(_tokenizer()), **sizes, **ends, **values)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    # GPT-2 would add the embedding of a segment, which its own tokenizers do not name.
    _tokenizer(model_input_names=["input_ids", "attention_mask"]).save_pretrained(folder)
    return folder


def save_encoder(folder: Path) -> Path:
    """A bare BertModel."""
    import torch
    from transformers import BertModel

    torch.manual_seed(1)
    BertModel(_bert_config(), add_pooling_layer=False).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def save_picture_model(folder: Path, family: str) -> Path:
    """A classifier of that family for 16x16, with its image processor."""
    import torch
    from transformers import (
        ResNetConfig,
        ResNetForImageClassification,
        ViTConfig,
        ViTForImageClassification,
    )
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    torch.manual_seed(1)
    labels = {place: f"thing {place}" for place in range(4)}
    if family == "resnet":
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
        config = ResNetConfig(layer_type="basic", id2label=labels, **sizes)
        model = ResNetForImageClassification(config)
    else:
        model = ViTForImageClassification(
            ViTConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                image_size=16,
                patch_size=4,
                initializer_range=0.3,
                id2label=labels,
            )
        )
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def _bert_config(**values: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(_tokenizer()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=0,
        **values,
    )


def _tokenizer(**values: Any) -> Any:
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(word.lower() for word in WORDS)]
    return BertTokenizer(
        vocab={name: k for k, name in enumerate(names)}, model_max_length=64, **values
    )
