"""A BERT tokenizer with a vocabulary of its own, made from the texts of a grammar.

It knows no grammar and no model.
"""

from collections.abc import Sequence
from typing import Any

#: In BERT's order, so that the padding is token 0.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: So that any English word can be spelt, whichever letters the texts lack.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789'.,;:!?-"


def build_tokenizer(texts: Sequence[str], size: int, context: int) -> Any:
    """An uncased WordPiece of at most `size` tokens, for texts of at most `context` tokens."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(
        [*texts, " ".join(_LETTERS), _LETTERS[:26]],
        vocab_size=size,
        min_frequency=1,
        special_tokens=list(SPECIAL),
        initial_alphabet=list(_LETTERS),
        show_progress=False,
    )
    vocabulary = trainer.get_vocab()
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    whole = {name: place for place, name in enumerate(names)}
    return BertTokenizer(vocab=whole, do_lower_case=True, model_max_length=context)
