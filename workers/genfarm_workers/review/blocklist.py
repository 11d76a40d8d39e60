"""Words and phrases that are refused, found however they are spelt.

    # a comment
    bad              the word; not within another: "bad" is not in "badge"
    bad*             every word that begins so
    a bad thing      the phrase, whatever stands between its words

Texts and entries are folded first (`folding.py`). A word is also found with signs between its
letters ("b.a.d", "b-ad"), spelt out ("b a d", from three letters on), and with digits and signs
for letters ("b4d"), though not of digits alone. Scripts without spaces between words are matched
anywhere. Pure.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genfarm_shared.errors import InvalidSetting
from genfarm_workers.review.folding import fold
from genfarm_workers.review.rules import Blocked

#: What stands for a letter.
LEET = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!",
    "l": "1",
    "o": "0",
    "s": "5$",
    "t": "7",
}
#: Between two letters of a word, and of one that is spelt out. Few and possessive, or a prompt
#: of signs alone would take a minute; none of what stands for a letter.
_SIGNS, _APART = r"(?:[^\w\s@$!]|_){0,3}+", r"(?:[^\w@$!]|_){1,3}+"
#: Between two words.
_GAP = r"[\W_]{1,8}"
#: Where no letter or digit stands before, and behind.
_BEGIN, _END = r"(?<![^\W_])", r"(?![^\W_])"
#: Thai to Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
#: Letters from which on a word is looked for with spaces between its letters: "i a" is no word.
_SPELT_FROM = 3


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a list."""

    #: Folded, without signs.
    words: tuple[str, ...]
    is_stem: bool

    @property
    def rule(self) -> str:
        return hashlib.sha256(" ".join(self.words).encode()).hexdigest()[:12]

    def pattern(self) -> str:
        """As it may be spelt, but for the first letter's class and what must stand before."""
        end = "" if self.is_stem or _UNSPACED.match(self.words[-1][-1]) else _END
        told = _GAP.join(_SIGNS.join(map(_letter, word)) for word in self.words)
        spelt = _APART.join(map(_letter, "".join(self.words)))
        is_long = len(self.words[0]) >= _SPELT_FROM
        return f"(?:{told}|{spelt}){end}" if is_long else f"{told}{end}"

    def begin(self) -> str:
        return "" if _UNSPACED.match(self.words[0][0]) else _BEGIN


class BlockList:
    """Entries to look for. Safe for many threads."""

    def __init__(self, entries: Iterable[str]) -> None:
        found = {entry.rule: entry for entry in map(_parse, entries) if entry.words}
        self._entries = list(found.values())
        by_begin: dict[tuple[str, str], list[str]] = {}
        for entry in self._entries:
            # By the first letter, so that a word of a text is compared with few entries.
            key = (entry.begin(), _letter(entry.words[0][0]))
            by_begin.setdefault(key, []).append(entry.pattern())
        branches = (f"{b}(?={c})(?:{'|'.join(found)})" for (b, c), found in by_begin.items())
        self._any = re.compile("|".join(branches) or r"(?!)")

    def find(self, text: str) -> Blocked | None:
        """The first entry that the text holds."""
        folded = fold(text)
        for match in self._any.finditer(folded):
            found = match.group()
            for entry in self._entries:
                # A number is no word that is written in digits.
                is_word = "".join(entry.words).isdecimal() or any(map(str.isalpha, found))
                if is_word and re.fullmatch(entry.pattern(), found):
                    return Blocked("block_list", entry.rule)
        return None


def read_block_list(source: str | Iterable[str]) -> BlockList:
    """The list in a file, or of those entries. Raises InvalidSetting."""
    if not isinstance(source, str):
        return BlockList(source)
    try:
        lines = Path(source).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"the block list {source} cannot be read: {error}. Correct block_list in models.toml"
        ) from error
    return BlockList(line for line in lines if not line.lstrip().startswith("#"))


def _parse(line: str) -> _Entry:
    words = ("".join(filter(str.isalnum, word)) for word in fold(line).split())
    return _Entry(tuple(word for word in words if word), line.rstrip().endswith("*"))


def _letter(char: str) -> str:
    """What may stand for it."""
    return f"[{char}{LEET[char]}]" if char in LEET else re.escape(char)
