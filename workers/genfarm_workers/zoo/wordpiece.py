"""A BERT tokenizer with a vocabulary of its own: the words of a grammar, and letters for others.

It knows no grammar and no model. Not learnt by the tokenizers package: its trainer breaks
ties as its hash tables lie, and the same seed would give other weights on another day.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

#: In BERT's order, so that the padding is token 0.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: So that any English word can be spelt, whichever letters the texts lack.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789'.,;:!?-"


def build_tokenizer(texts: Sequence[str], size: int, context: int) -> Any:
    """An uncased WordPiece of at most `size` tokens, for texts of at most `context` tokens."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from transformers import BertTokenizer

    normal, split = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts = Counter(
        word for text in texts for word, _ in split.pre_tokenize_str(normal.normalize_str(text))
    )
    words = sorted(counts, key=lambda word: (-counts[word], word))
    spelling = [*_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    tokens = list(dict.fromkeys([*SPECIAL, *spelling, *words]))[:size]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=context)
