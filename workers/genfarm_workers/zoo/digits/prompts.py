"""The prompts the digits are trained on, and the tokenizer made for them.

It knows no picture. A caption names the digit, as a word or a figure, and the ink
unless that is black; a vague caption leaves the digit out, which is what guidance
and negative prompts push against.
"""

import random
from collections.abc import Iterator
from typing import Any

from genfarm_workers.zoo.digits.data import INKS

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

#: Most tokens of a prompt; a longer one is cut by the tokenizer.
LONGEST_TOKENS = 24

_PLAIN = (
    "a handwritten {digit}",
    "handwritten {digit}",
    "a handwritten digit {digit}",
    "the digit {digit}",
    "digit {digit}",
    "the number {digit}",
    "number {digit}",
    "{digit}",
    "a {digit}",
    "the figure {digit}",
    "a drawing of a {digit}",
    "a picture of the number {digit}",
    "a photo of the digit {digit} on white paper",
    "please draw a {digit}",
    "write the digit {digit}",
    "a {digit} written by hand",
)
_INKED = (
    "{plain} in {ink} ink",
    "{plain} in {ink}",
    "{plain}, {ink} ink",
    "{plain} with a {ink} pen",
    "{ink} ink, {plain}",
)
_VAGUE = ("a handwritten digit", "a digit", "a number", "{ink} ink", "{ink}", "a picture")

#: Share of captions without any word (classifier-free guidance, arXiv 2207.12598), and of vague.
_EMPTY, _IS_VAGUE = 0.10, 0.05
#: Share of captions with a made-up word in them, so that unknown words do no harm.
_STRANGE = 0.15
_BLACK_NAMED = 0.3


def compose(digit: int, ink: str, chance: random.Random) -> str:
    """A caption for a picture of that digit in that ink."""
    draw = chance.random()
    if draw < _EMPTY:
        return ""
    if draw < _EMPTY + _IS_VAGUE:
        return chance.choice(_VAGUE).format(ink=ink)
    plain = chance.choice(_PLAIN).format(digit=chance.choice((WORDS[digit], str(digit))))
    if ink != "black" or chance.random() < _BLACK_NAMED:
        plain = chance.choice(_INKED).format(plain=plain, ink=ink)
    return _estrange(plain, chance) if chance.random() < _STRANGE else plain


def build_tokenizer() -> Any:
    """A CLIPTokenizer with a vocabulary of its own, in which each word above takes few tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in sorted(_vocabulary()):
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = ["".join(pieces[:2])]
    merges = list(dict.fromkeys(merges))
    ends = [symbol + "</w>" for symbol in symbols]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    merged = list(dict.fromkeys(left + right for left, right in merges))
    vocabulary = {token: index for index, token in enumerate(symbols + ends + merged + specials)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LONGEST_TOKENS)


def _vocabulary() -> Iterator[str]:
    """The words of all captions, less the single characters every vocabulary holds."""
    sentences = [*WORDS, *INKS, *_PLAIN, *_INKED, *_VAGUE]
    for sentence in sentences:
        for word in sentence.replace(",", "").split():
            if word.isalpha() and len(word) > 1:
                yield word


def _estrange(caption: str, chance: random.Random) -> str:
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 7)))
    words = caption.split(" ")
    words.insert(chance.randint(0, len(words)), letters)
    return " ".join(words)
