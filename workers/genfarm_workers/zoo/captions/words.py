"""What a caption says of a digit, the tokenizer made for it, and how a caption is read back.

Knows no picture and no model.
"""

import random
import re
from typing import Any

from genfarm_workers.zoo.digits.data import INKS
from genfarm_workers.zoo.digits.prompts import WORDS

#: What a caption calls the inks: those of the drawn digits, and white on dark paper.
INK_NAMES = (*INKS, "white")

START, END, PAD, UNKNOWN = "<|start|>", "<|end|>", "<|pad|>", "<|unknown|>"

#: Positions of the decoder: the longest caption takes 11, and a request may ask for more.
CONTEXT = 64

#: The first is what the likeliest caption says; the others are for those who sample.
_SAYINGS = {
    "a handwritten {digit} in {ink} ink": 0.55,
    "the digit {digit} in {ink} ink": 0.15,
    "a {digit} written in {ink} ink": 0.15,
    "the number {digit} written by hand in {ink} ink": 0.15,
}


def describe(digit: int, ink: str, chance: random.Random) -> str:
    """A caption of a picture of that digit in that ink."""
    (saying,) = chance.choices(list(_SAYINGS), list(_SAYINGS.values()))
    return saying.format(digit=WORDS[digit], ink=ink)


def digit_named(caption: str) -> int | None:
    """The one digit that a caption names; None when it names none, or several."""
    named = {WORDS.index(word) for word in _words(caption) if word in WORDS}
    return named.pop() if len(named) == 1 else None


def ink_named(caption: str) -> str | None:
    """The one ink that a caption names."""
    named = {word for word in _words(caption) if word in INK_NAMES}
    return named.pop() if len(named) == 1 else None


def build_tokenizer() -> Any:
    """A token a word, for the words above."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    said = {word for saying in _SAYINGS for word in _words(re.sub(r"{\w+}", "", saying))}
    entries = [START, END, PAD, UNKNOWN, *sorted(said | set(WORDS) | set(INK_NAMES))]
    vocabulary = {entry: place for place, entry in enumerate(entries)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
    )


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
