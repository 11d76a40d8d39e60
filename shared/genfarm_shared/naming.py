"""Whether a text names a label: `a handwritten seven` names `7`. Knows no classifier."""

import re

#: Their place is their value.
FIGURES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def names_label(text: str, label: str) -> bool:
    """Whether the label's words stand in the text one after the other, in any case of letters.

    Of a label such as `tabby, tabby cat` one of the names is enough. The words for 0 to 9
    and their figures are the same word.
    """
    there = _words(text)
    for name in label.split(","):
        words = _words(name)
        if words and any(there[i : i + len(words)] == words for i in range(len(there))):
            return True
    return False


def _words(text: str) -> list[str]:
    found = re.findall(r"[^\W\d_]+|\d+", text.casefold())
    return [str(FIGURES.index(word)) if word in FIGURES else word for word in found]
