"""The parts of the music model beside its codec: tokenizer, text encoder, decoder.

All classes are the stock ones of transformers. Knows no data and no training.
"""

from typing import Any

from genfarm_workers.zoo.music.codec import CODEBOOKS, CODES
from genfarm_workers.zoo.music.tones import FRAMES, WORDS

#: Most tokens of a prompt.
LONGEST_TOKENS = 16

_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"


def build_tokenizer() -> Any:
    """A token for each word of the captions; any other word is the unknown one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    entries = {word: place for place, word in enumerate([_PAD, _END, _UNKNOWN, *WORDS])}
    made = Tokenizer(models.WordLevel(entries, unk_token=_UNKNOWN))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, entries[_END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=_PAD, eos_token=_END, unk_token=_UNKNOWN
    )


def build_musician(codec: Any, tokenizer: Any) -> Any:
    """MusicgenForConditionalGeneration: token ids (N, 16) to codes, and by the codec to sound."""
    from transformers import (
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    text = T5Config(
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
    )
    decoder = MusicgenDecoderConfig(
        vocab_size=CODES,
        # Every frame, and the codebooks' delays.
        max_position_embeddings=FRAMES + CODEBOOKS + 1,
        num_hidden_layers=3,
        ffn_dim=256,
        num_attention_heads=4,
        hidden_size=96,
        num_codebooks=CODEBOOKS,
        pad_token_id=CODES,
        bos_token_id=CODES,
        dropout=0.0,
        scale_embedding=False,
    )
    config = MusicgenConfig(
        text_encoder=text.to_dict(), audio_encoder=codec.config.to_dict(), decoder=decoder.to_dict()
    )
    model = MusicgenForConditionalGeneration(config)
    model.audio_encoder.load_state_dict(codec.state_dict())
    said = model.generation_config
    said.decoder_start_token_id = said.pad_token_id = said.bos_token_id = CODES
    said.do_sample, said.guidance_scale, said.max_length = True, 2.0, FRAMES + CODEBOOKS
    return model
