"""Templates: how what one stage gave becomes what the next is asked. Data, never code.

    "{input}"                   the item itself; "{input.style}" what it names so
    "{text}"                    of the stage before; "{texts[1]}", "{labels[0].score}"
    "{draw.image}"              of the stage of that name
    "{texts[k]}"                k is the number of the row among its twins, from 0
    "a story of {text}, {{so}}" within other words; doubled braces stand for themselves

A template that is one hole and nothing else keeps the type of what fills it: a
number stays a number. A list holds templates. Knows no stage and no task.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genfarm_shared.errors import InvalidTask

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_PATH = re.compile(r"([A-Za-z_][\w-]*)((?:\.[A-Za-z_]\w*|\[(?:\d{1,4}|k)\])*)")
_STEP = re.compile(r"\.(\w+)|\[(\w+)\]")
#: The word that stands for the number of the row among its twins, where a number may stand.
TWIN = "k"


@dataclass(frozen=True, slots=True)
class Path:
    """What stands in a hole."""

    #: Its first word.
    root: str
    #: The names and numbers after it, TWIN for the twin's own number.
    rest: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        parts = [f".{part}" if _is_name(part) else f"[{part}]" for part in self.rest]
        return self.root + "".join(parts)


#: A template as it was read: words, and paths in its holes.
Pieces = tuple[str | Path, ...]


@lru_cache(maxsize=1024)
def read_template(text: str) -> Pieces:
    """Its words and holes. Raises InvalidTask for a lone brace or a hole that holds no path."""
    pieces: list[str | Path] = []
    for found in _PIECE.finditer(text):
        word = found.group()
        if found.group(1) is not None:
            pieces.append(read_path(found.group(1)))
        elif word in ("{", "}"):
            raise InvalidTask(
                f"a lone {word!r} in a template; write {2 * word!r} for the character itself"
            )
        else:
            pieces.append(word[0] if word in ("{{", "}}") else word)
    return tuple(pieces)


@lru_cache(maxsize=1024)
def read_path(text: str) -> Path:
    """The path that those words spell. Raises InvalidTask."""
    found = _PATH.fullmatch(text)
    if found is None:
        raise InvalidTask(
            f"{{{text}}} is no place to take a value from; expected such as {{input}}, {{text}}, "
            "{labels[0].label} or {stage_name.image}"
        )
    steps = [name or number for name, number in _STEP.findall(found.group(2))]
    return Path(found.group(1), tuple(int(s) if s.isdecimal() else s for s in steps))


def paths_of(template: object) -> list[Path]:
    """The paths in the holes of a parameter's value; none where that holds no text."""
    if isinstance(template, list | tuple):
        return [path for part in template for path in paths_of(part)]
    pieces = read_template(template) if isinstance(template, str) else ()
    return [piece for piece in pieces if isinstance(piece, Path)]


def fill(template: object, look_up: Callable[[Path], object]) -> object:
    """The value of a parameter, its holes filled. Raises InvalidTask as `look_up` does."""
    if isinstance(template, list | tuple):
        return [fill(part, look_up) for part in template]
    if not isinstance(template, str):
        return template
    pieces = read_template(template)
    if len(pieces) == 1 and isinstance(pieces[0], Path):
        return look_up(pieces[0])
    return "".join(p if isinstance(p, str) else _spell(look_up(p)) for p in pieces)


def follow_path(path: Path, value: object, twin: int) -> object:
    """What the rest of a path leads to from `value`. Raises InvalidTask, which quotes no value."""
    for part in path.rest:
        place = twin if part == TWIN and isinstance(value, list) else part
        try:
            value = value[place]  # type: ignore[index]  # what is no container is caught
        except (LookupError, TypeError):
            raise InvalidTask(f"there is no {{{path}}}") from None
    if value is None:
        raise InvalidTask(f"{{{path}}} is empty")
    return value


def _is_name(part: str | int) -> bool:
    return isinstance(part, str) and part != TWIN


def _spell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def names_of(templates: Mapping[str, Any], root: str) -> set[str]:
    """What comes right after that root in any hole of those parameters: `style` of
    `{input.style}`; an empty text for the root alone."""
    found = [path for value in templates.values() for path in paths_of(value)]
    return {str(path.rest[0]) if path.rest else "" for path in found if path.root == root}
