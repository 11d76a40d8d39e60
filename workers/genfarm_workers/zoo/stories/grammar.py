"""The grammar that writes little stories, and the rule that holds whole sentences out.

It knows no model. Each sentence string belongs to the training part or to the held-out
part by its own checksum, so no sentence of one part ever occurs in the other,
however many stories are written.
"""

import random
import re
import zlib
from collections.abc import Iterator

from genfarm_workers.zoo.stories import words
from genfarm_workers.zoo.stories.plots import ENDING, OPENING, PLOTS, Step

#: One sentence in so many is held out of every training story.
_HELD_OUT_ONE_IN = 8

#: Drawing a sentence this often without meeting the wanted part cannot be bad luck.
_MOST_TRIES = 2_000

_SLOT = re.compile(r"<(\w+)(\^?)>")
_SENTENCE_END = re.compile(r'(?:(?<=[.!?])|(?<=[.!?]")) (?=["A-Z])')


def write_stories(count: int, *, seed: int, held_out: bool) -> Iterator[str]:
    """Stories of one line each, about nine sentences, all of them from the wanted part."""
    chance = random.Random(f"{seed} {held_out}")  # noqa: S311
    for _ in range(count):
        yield _write_story(chance, held_out=held_out)


def split_sentences(story: str) -> list[str]:
    """The sentences of a story, as readers see them."""
    return _SENTENCE_END.split(story)


def is_held_out(sentence: str) -> bool:
    return zlib.crc32(sentence.encode()) % _HELD_OUT_ONE_IN == 0


def _write_story(chance: random.Random, *, held_out: bool) -> str:
    cast = _draw_cast(chance)
    steps = (OPENING, *chance.choice(PLOTS), *ENDING)
    return " ".join(_say(step, cast, chance, held_out=held_out) for step in steps)


def _draw_cast(chance: random.Random) -> dict[str, str]:
    """Who and what stays the same through a story, by the fields of the frames."""
    girl, tame = chance.random() < 0.5, chance.random() < 0.5
    role = f"{chance.choice(words.TEMPERS)} {chance.choice(words.ROLES)}"
    if chance.random() < 0.6:
        hero = chance.choice(words.GIRLS if girl else words.BOYS)
        a_hero = f"{_with_article(role)} {chance.choice(('named', 'called'))} {hero}"
        the_hero = a_hero
    else:
        hero = "the " + role.split()[1]
        a_hero, the_hero = _with_article(role), f"the {role}"
    friend = chance.choice(words.PETS)
    animal = f"{chance.choice(words.LOOKS)} {chance.choice(words.ANIMALS)}"
    thing = chance.choice(words.THINGS)
    place, far = chance.sample(words.PLACES, 2)
    cast = {
        "hero": hero,
        "a_hero": a_hero,
        "the_hero": the_hero,
        "he": "she" if girl else "he",
        "him": "her" if girl else "him",
        "his": "her" if girl else "his",
        "friend": friend,
        "a_friend": f"{_with_article(animal)} named {friend}",
        "fhe": "she" if tame else "he",
        "fhim": "her" if tame else "him",
        "fhis": "her" if tame else "his",
        "town": chance.choice(words.TOWNS),
        "thing": thing,
        "a_thing": _with_article(thing),
        "place": place,
        "far": far,
    }
    return cast | {name.capitalize(): _capital(text) for name, text in cast.items()}


def _say(step: Step, cast: dict[str, str], chance: random.Random, *, held_out: bool) -> str:
    for _ in range(_MOST_TRIES):
        sentence = _fill(chance.choice(step).format_map(cast), chance)
        if is_held_out(sentence) == held_out:
            return sentence
    raise RuntimeError(f"no sentence of the wanted part among {step!r}; add frames. This is a bug.")


def _fill(frame: str, chance: random.Random) -> str:
    """Fill the free slots; a slot named twice in one sentence holds two different phrases."""
    used: set[str] = set()

    def draw(match: re.Match[str]) -> str:
        phrase = chance.choice([p for p in words.SLOTS[match[1]] if p not in used])
        used.add(phrase)
        return _capital(phrase) if match[2] else phrase

    return _SLOT.sub(draw, frame)


_VOWEL_SOUNDS = ("a", "e", "i", "o", "u", "hon")


def _with_article(noun: str) -> str:
    return f"{'an' if noun.startswith(_VOWEL_SOUNDS) else 'a'} {noun}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
