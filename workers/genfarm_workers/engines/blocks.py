"""Writes blocks of models.toml for people to paste. Knows no model."""

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def head(*path: str) -> str:
    """The line that begins a table; a name with a dot in it would be two without quotes."""
    return f"[{'.'.join(_key(name) for name in path)}]"


def spell_block(path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """A table of strings, numbers, truths, lists and further tables. What is None is left out."""
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    lines = [head(*path)]
    lines += [f"{_key(n)} = {_value(value)}" for n, value in plain.items() if value is not None]
    below = [
        spell_block((*path, name), value)
        for name, value in values.items()
        if isinstance(value, Mapping)
    ]
    return "\n\n".join(["\n".join(lines), *below])


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    # Not in ASCII: JSON would write a character beyond 16 bits as two that TOML refuses.
    return json.dumps(value, ensure_ascii=False)
