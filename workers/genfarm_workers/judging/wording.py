"""How varied texts are in their words, and how long (distinct-n: arXiv 1510.03055).

Knows no model.
"""

import re
from collections.abc import Sequence
from statistics import mean

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words_of(text: str) -> list[str]:
    """Its words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def distinct(texts: Sequence[Sequence[str]], n: int) -> tuple[float, int]:
    """The share of n-grams of all texts that differ, 0 to 1, and how many n-grams there are.

    It falls as texts grow more: compare only sets of about as many n-grams. 0 of none.
    """
    grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return (len(set(grams)) / len(grams) if grams else 0.0), len(grams)


def mean_length(texts: Sequence[Sequence[str]]) -> float:
    """Words of a text on average; 0 of none."""
    return mean(map(len, texts)) if texts else 0.0
