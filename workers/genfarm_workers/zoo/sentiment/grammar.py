"""The grammar that writes reviews, and the rule that holds templates and combinations out.

A review's template is its text with the slots still open. A combination is a word of opinion
with the noun it is said of. Each belongs to the training part or to the held-out part by its
own checksum; a training review has all of the first, a held-out review all of the second. So
no template and no combination of the held-out part occurs in training, however many reviews
are written, while every single word and every kind of clause does. It knows no model.
"""

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genfarm_workers.zoo.sentiment import frames, words

#: A label is the place of its name.
LABELS = ("negative", "positive")

#: One template in so many is held out, and so is one combination.
_HELD_OUT_ONE_IN = 5
#: Drawing a template this often without meeting the wanted part cannot be bad luck.
_MOST_TRIES = 2_000

_CLAUSE = re.compile(r"\[([+-]|one)\]")
_SLOT = re.compile(r"<([!~]?)(\w+)>")
_ARTICLE = re.compile(r"\ba (?=[aeiou](?!se))")
_START = re.compile(r"(^|[.!?] )([a-z])")


@dataclass(frozen=True, slots=True)
class Review:
    """One review."""

    text: str
    #: Whether it praises.
    is_positive: bool
    #: Its text with the slots still open.
    template: str
    #: Words of opinion with the nouns they are said of; "" where there is no noun.
    combinations: tuple[tuple[str, str], ...]


def write_reviews(count: int, *, seed: int, held_out: bool) -> Iterator[Review]:
    """Reviews of one to four sentences, half of them praise, all of them of the wanted part."""
    chance = random.Random(f"{seed} {held_out}")  # noqa: S311
    for number in range(count):
        yield _write_review(chance, is_positive=number % 2 == 0, held_out=held_out)


def is_held_out(part: str) -> bool:
    """Whether a template, or a combination as "word noun", belongs to the held-out part."""
    return zlib.crc32(part.encode()) % _HELD_OUT_ONE_IN == 0


def _write_review(chance: random.Random, *, is_positive: bool, held_out: bool) -> Review:
    for _ in range(_MOST_TRIES):
        template = _template(chance)
        if is_held_out(template) == held_out:
            review = _Writer(chance, is_positive, held_out).fill(template)
            if review is not None:
                return review
    raise RuntimeError("no review of the wanted part; add frames or words. This is a bug.")


def _template(chance: random.Random) -> str:
    draw = chance.random()
    if draw < 0.35:
        outline = "[+]."
    else:
        outline = "<new>" + chance.choice(frames.OPPOSED if draw < 0.8 else frames.AGREEING)
    text = _CLAUSE.sub(lambda match: _clause(match[1], chance), outline)
    if chance.random() < 0.3:
        aside = chance.choice(words.ASIDES)
        text = f"{aside} {text}" if chance.random() < 0.5 else f"{text} {aside}"
    return text


def _clause(mood: str, chance: random.Random) -> str:
    """A clause seen from the whole review: one of the opposite mood has its slots turned."""
    if mood == "one":
        return chance.choice(frames.ONES)
    (kind,) = chance.choices(frames.CLAUSES, weights=(5, 4, 2))
    clause = chance.choice(kind)
    return "<new>" + (clause if mood == "+" else _SLOT.sub(_turned, clause))


def _turned(match: re.Match[str]) -> str:
    if match[2] not in words.OPINIONS:
        return match[0]
    return f"<{'' if match[1] else '!'}{match[2]}>"


class _Writer:
    """Fills the slots of one template."""

    def __init__(self, chance: random.Random, is_positive: bool, held_out: bool) -> None:
        self._chance = chance
        self._is_positive = is_positive
        self._held_out = held_out
        self._things, self._aspects = words.FIELDS[chance.choice(list(words.FIELDS))]
        self._noun = ""
        self._said: list[tuple[str, str]] = []
        self._is_stuck = False

    def fill(self, template: str) -> Review | None:
        """None when some noun has no combination of the wanted part."""
        text = " ".join(_SLOT.sub(self._fill, template).split())
        if self._is_stuck:
            return None
        text = _ARTICLE.sub("an ", text)
        text = _START.sub(lambda match: match[1] + match[2].upper(), text)
        if self._chance.random() < 0.15:
            text = text[:-1] + "!"
        return Review(text, self._is_positive, template, tuple(self._said))

    def _fill(self, match: re.Match[str]) -> str:
        turn, slot = match[1], match[2]
        if slot in words.OPINIONS:
            is_praise = self._is_positive != (turn == "!")
            if turn == "~":
                is_praise = self._chance.random() < 0.5
            return self._opinion(slot, is_praise=is_praise, is_aside=turn == "~")
        if slot == "new":
            self._noun = self._draw_noun()
            return ""
        if slot == "thing":
            return self._noun or "thing"
        if slot == "int" and self._chance.random() < 0.6:
            return ""
        name = self._chance.choice(self._others(slot))
        return name.format(noun=self._noun)

    def _others(self, slot: str) -> Sequence[str]:
        if slot == "it":
            return words.NAMED if self._noun else words.BARE
        return {"int": words.INTENSIFIERS, "day": words.DAYS, "people": words.PEOPLE}[slot]

    def _draw_noun(self) -> str:
        draw = self._chance.random()
        if draw < 0.2:
            return ""
        return self._chance.choice(self._things if draw < 0.6 else self._aspects)

    def _opinion(self, slot: str, *, is_praise: bool, is_aside: bool) -> str:
        """A word whose combination with the noun is of the wanted part."""
        choices = words.OPINIONS[slot][0 if is_praise else 1]
        if is_aside:
            return self._chance.choice(choices)
        of_part = [w for w in choices if is_held_out(f"{w} {self._noun}") == self._held_out]
        if not of_part:
            self._is_stuck = True
            return ""
        word = self._chance.choice(of_part)
        self._said.append((word, self._noun))
        return word
