"""Words and phrases that are refused, found however they are spelt.

    # a comment
    bad              the word; not within another: "bad" is not in "badge"
    bad*             every word that begins so
    a bad thing      the phrase, whatever stands between its words

Texts and entries are folded first (`folding.py`). A word is also found with signs between its
letters ("b.a.d", "b-ad"), spelt out ("b a d", from three letters on), and with digits and signs
for letters ("b4d"), though not of digits alone. Scripts without spaces between words are matched
anywhere. Pure.

Entries lie in two tries of the letters' looks, one as they are told and one spelt out, in which
every letter leads on to one letter at most: a text costs at most its length times that of the
longest entry, whatever was crafted, and no time in which other threads stand still. One regular
expression of all entries took seconds for a text of "1 ", which may be an i or an l each time.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
#: By a letter or what stands for one: the one that stands for all that look like it. A 1 is an i
#: as well as an l, so these are one.
_LOOKS = str.maketrans({"l": "i"} | {sign: a for a, signs in LEET.items() for sign in signs})
_LOOKS[ord("1")] = "i"
#: Between two letters of a word, and of one that is spelt out; none of what stands for a letter.
_SIGNS, _APART = re.compile(r"(?:[^\w\s@$!]|_){0,3}+"), re.compile(r"(?:[^\w@$!]|_){1,3}+")
#: Between two words.
_GAP = re.compile(r"[\W_]{1,8}")
#: Thai to Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
#: Spellings of what stands before a place from which a phrase goes on. A sign may be a letter of a
#: word or stand between two, so a crafted text has any number; one written for people has one.
_SPELLINGS = 4
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

    def is_spelt_by(self, found: str) -> bool:
        """Whether those letters and signs, which look like its own, stand for its own."""
        own = "".join(self.words)
        # A number is no word that is written in digits.
        is_word = own.isdecimal() or any(map(str.isalpha, found))
        return is_word and all(
            sign == letter or sign in LEET.get(letter, "")
            for sign, letter in zip(found, own, strict=True)
        )

    def may_end_before(self, after: str) -> bool:
        return self.is_stem or not after.isalnum() or bool(_UNSPACED.match(self.words[-1][-1]))


@dataclass(slots=True)
class _Node:
    """Where the letters so far lead to."""

    #: By the look of the next letter.
    letters: dict[str, "_Node"] = field(default_factory=dict)
    #: Behind a gap, at the beginning of the next word.
    word: "_Node | None" = None
    #: Entries that end here.
    entries: list[_Entry] = field(default_factory=list)

    def walk(self, word: str) -> "_Node":
        """The end of that word, which begins here; made where there is none."""
        node = self
        for look in word.translate(_LOOKS):
            node = node.letters.setdefault(look, _Node())
        return node

    def behind_gap(self) -> "_Node":
        self.word = self.word or _Node()
        return self.word


class BlockList:
    """Entries to look for. Safe for many threads."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._told, self._spelt = _Node(), _Node()
        # By their words and not by their rule: a stem and a word are one rule.
        for entry in {entry: None for entry in map(_parse, entries) if entry.words}:
            node = self._told.walk(entry.words[0])
            for word in entry.words[1:]:
                node = node.behind_gap().walk(word)
            node.entries.append(entry)
            if len(entry.words[0]) >= _SPELT_FROM:
                self._spelt.walk("".join(entry.words)).entries.append(entry)

    def find(self, text: str) -> Blocked | None:
        """The first entry that the text holds."""
        look = _Look(fold(text))
        for start in look.starts():
            found = look.told(self._told, start) or look.spelt(self._spelt, start)
            if found is not None:
                return Blocked("block_list", found.rule)
        return None


class _Look:
    """One search through a folded text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._looks = text.translate(_LOOKS)
        #: By the node and the place, how the words before those that begin there were spelt.
        self._seen: dict[tuple[int, int], set[str]] = {}

    def starts(self) -> Iterator[int]:
        """Where a word may begin: no letter or digit stands before, or the script has no spaces."""
        before = " "
        for place, char in enumerate(self._text):
            if not before.isalnum() or _UNSPACED.match(char):
                yield place
            before = char

    def told(self, root: _Node, start: int) -> _Entry | None:
        ways = [(root, start, "")]
        while ways:
            node, at, letters = ways.pop()
            while (after := node.letters.get(self._looks[at : at + 1])) is not None:
                node, letters, at = after, letters + self._text[at], at + 1
                found = self._ended(node, letters, at) if node.entries else None
                if found is not None:
                    return found
                if node.word is not None:
                    ends = self._words(node.word, at, letters)
                    ways += [(node.word, end, letters) for end in ends]
                at = _end(_SIGNS, self._text, at)
        return None

    def spelt(self, root: _Node, start: int) -> _Entry | None:
        node, at, letters = root, start, ""
        while (after := node.letters.get(self._looks[at : at + 1])) is not None:
            node, letters, at = after, letters + self._text[at], at + 1
            found = self._ended(node, letters, at) if node.entries else None
            if found is not None:
                return found
            behind = _end(_APART, self._text, at)
            if behind == at:
                break
            at = behind
        return None

    def _words(self, node: _Node, at: int, letters: str) -> Iterator[int]:
        """Where the next word may begin; each place a few times at most in a search."""
        for end in range(at + 1, _end(_GAP, self._text, at) + 1):
            if self._looks[end : end + 1] in node.letters:
                seen = self._seen.setdefault((id(node), end), set())
                if letters not in seen and len(seen) < _SPELLINGS:
                    seen.add(letters)
                    yield end

    def _ended(self, node: _Node, letters: str, at: int) -> _Entry | None:
        after = self._text[at : at + 1]
        for entry in node.entries:
            if entry.may_end_before(after) and entry.is_spelt_by(letters):
                return entry
        return None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what matches there ends; there, where nothing does."""
    if text[at : at + 1].isalnum():  # most often, and much sooner said
        return at
    match = pattern.match(text, at)
    return match.end() if match else at


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
