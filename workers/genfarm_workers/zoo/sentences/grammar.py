"""The grammar that says one fact in many ways, and the rule that holds facts out.

A fact is who did what to whom, perhaps with what, where and when. Two sentences of one fact
share few words and may tell it from either side; two facts that differ only in who was first
share nearly all. A fact belongs to the training part or to the held-out part by the
checksum of who did what to whom: no such triple of one part ever occurs in the other. It
knows no model.
"""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from genfarm_workers.zoo.sentences import words

#: One triple in so many is held out.
_HELD_OUT_ONE_IN = 6
#: Drawing a fact this often without meeting the wanted part cannot be bad luck.
_MOST_TRIES = 2_000


@dataclass(frozen=True, slots=True)
class Fact:
    """What a sentence says. Numbers are places in the lists of words."""

    #: Place among the deeds, and behind them the trades.
    deed: int
    doer: int
    other: int
    #: None for deeds without a thing.
    thing: int | None
    #: None where no place, or no time, is named.
    place: int | None
    time: int | None

    def turned(self) -> "Fact":
        """The same with the two people in each other's place."""
        return replace(self, doer=self.other, other=self.doer)

    def is_held_out(self) -> bool:
        return zlib.crc32(f"{self.deed} {self.doer} {self.other}".encode()) % _HELD_OUT_ONE_IN == 0


def draw_facts(count: int, chance: random.Random, *, held_out: bool) -> list[Fact]:
    """Different facts of the wanted part, each beside its turned one where that is of it too."""
    facts: dict[Fact, None] = {}
    for _ in range(_MOST_TRIES * count):
        fact = _draw(chance)
        for one in (fact, fact.turned()):
            if one.is_held_out() == held_out:
                facts[one] = None
        if len(facts) >= count:
            return list(facts)[:count]
    raise RuntimeError(f"fewer than {count} facts of the wanted part. This is a bug.")


def say_twice(fact: Fact, chance: random.Random) -> tuple[str, str]:
    """Two sentences of one fact, told in different ways."""
    first, second = chance.sample(range(len(_frames(fact))), 2)
    return say(fact, chance, first), say(fact, chance, second)


def say(fact: Fact, chance: random.Random, way: int) -> str:
    """The fact by the deed's way of that number; all else is said as chance has it."""
    frame = _frames(fact)[way]
    sentence = frame.format(
        a=chance.choice(words.PEOPLE[fact.doer]),
        b=chance.choice(words.PEOPLE[fact.other]),
        t="" if fact.thing is None else chance.choice(words.THINGS[fact.thing]),
    )
    place = "" if fact.place is None else chance.choice(words.PLACES[fact.place])
    time = "" if fact.time is None else chance.choice(words.TIMES[fact.time])
    before, behind = (time, place) if chance.random() < 0.5 else ("", f"{place} {time}")
    whole = f"{before}, {sentence} {behind}" if before else f"{sentence} {behind}"
    return _sentence(" ".join(whole.split()))


def held_out_pairs(count: int, *, seed: int) -> Iterator[tuple[str, str]]:
    """Two sentences each of different held-out facts."""
    chance = random.Random(seed)  # noqa: S311
    for fact in draw_facts(count, chance, held_out=True):
        yield say_twice(fact, chance)


def _draw(chance: random.Random) -> Fact:
    deed = chance.randrange(len(words.DEEDS) + len(words.TRADES))
    doer, other = chance.sample(range(len(words.PEOPLE)), 2)
    return Fact(
        deed=deed,
        doer=doer,
        other=other,
        thing=None if deed < len(words.DEEDS) else chance.randrange(len(words.THINGS)),
        place=chance.randrange(len(words.PLACES)) if chance.random() < 0.5 else None,
        time=chance.randrange(len(words.TIMES)) if chance.random() < 0.5 else None,
    )


def _frames(fact: Fact) -> tuple[str, ...]:
    return (words.DEEDS + words.TRADES)[fact.deed]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
