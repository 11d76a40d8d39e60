"""Reads messages that look like one that was checked before, without parsing them.

The messages of one batch key and one publisher differ in a task's id, its words
for people, its priority and its delivery tag. Of those that passed the full
check a form is kept: their bytes, with those places open to plain characters.
What fits a form is JSON of the same shape, so the check would pass it as well;
what fits none is checked in full.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from genfarm_shared.messages import STEPS, Refused, open_message, read_hint, task_id_of
from genfarm_shared.tasks import Hint

#: Messages that begin alike before a form is made of the next: making one takes a millisecond,
#: the check of a message ten microseconds.
WORTH = 16
#: Beginnings, and so forms, that are kept; a farm has one for each batch key and publisher.
MOST = 512
#: Bytes of a message that may make a form. A farm's are about 1 kB; a form takes ten times the
#: memory of what it is made of, and a millisecond for every 600 bytes.
LONGEST = 4096

#: Characters that JSON, and the check of an id, take as they are.
_PLAIN = rb"[!#-\[\]-~]"
#: The places that are open, by the name of their group.
_PLACES = {
    "id": rb'(?<="id":)( ?)"(?P<id>' + _PLAIN + rb'{1,64})"',
    "argsrepr": rb'(?<="argsrepr":)( ?)"(?P<argsrepr>(?:' + _PLAIN + rb'| ){0,200})"',
    "step": rb'(?<="priority":)( ?)(?P<step>[0-9])(?=[,}])',
    "tag": rb'(?<="delivery_tag":)( ?)"(?P<tag>' + _PLAIN + rb'{0,200})"',
}


@dataclass(frozen=True, slots=True)
class Opened:
    """What a message that passed the check says."""

    hint: Hint
    #: How Flower names the task, and its arguments in a few words: of a stranger, anything.
    shadow: object = None
    argsrepr: object = None


@dataclass(frozen=True, slots=True)
class _Form:
    pattern: re.Pattern[bytes]
    #: What the message said that it was made of.
    opened: Opened


class Forms:
    """The forms of one reader. Not for two threads at once."""

    def __init__(self) -> None:
        #: By what stands before the id.
        self._forms: dict[bytes, _Form] = {}
        self._seen: Counter[bytes] = Counter()

    def read(self, raw: bytes, size: int) -> Opened:
        """What a message of `size` bytes says; `raw` is its beginning where it is too large.

        Raises Refused.
        """
        if size > LONGEST:
            return _check(raw, size)
        head = raw.partition(b'"id"')[0]
        form = self._forms.get(head)
        fitting = None if form is None else form.pattern.fullmatch(raw, len(head))
        if form is None or fitting is None:
            return self._learn(raw, head)
        task_id, words, step = fitting.group("id", "argsrepr", "step")
        known, priority = form.opened.hint, STEPS - 1 - int(step)
        hint = Hint(
            task_id.decode(), known.kind, known.model, known.batch_key, known.rows, priority
        )
        return Opened(hint, form.opened.shadow, words.decode())

    def task_id(self, raw: bytes) -> str:
        """The task that a message speaks of, refused or not; empty for none."""
        try:
            return self.read(raw, len(raw)).hint.task_id
        except Refused:
            return task_id_of(raw) or ""

    def _learn(self, raw: bytes, head: bytes) -> Opened:
        opened = _check(raw, len(raw))
        if len(self._seen) >= MOST:
            self._seen.clear()
            self._forms.clear()
        self._seen[head] += 1
        if self._seen[head] == WORTH:
            pattern = _pattern(raw, len(head), opened.hint.task_id.encode())
            if pattern is not None:
                self._forms[head] = _Form(pattern, opened)
        return opened


def _check(raw: bytes, size: int) -> Opened:
    envelope = open_message(raw, size)
    headers = envelope["headers"]
    return Opened(read_hint(envelope), headers.get("shadow"), headers.get("argsrepr"))


def _pattern(raw: bytes, begin: int, task_id: bytes) -> re.Pattern[bytes] | None:
    """What the messages of that form match from `begin` on; None where a place is not there
    exactly once, or the id stands before its own."""
    found = {name: list(re.finditer(place, raw)) for name, place in _PLACES.items()}
    if any(len(matches) != 1 for matches in found.values()):
        return None
    places = sorted((m.start(), m.end(), name) for name, (m,) in found.items())
    if places[0][2] != "id" or found["id"][0]["id"] != task_id:
        return None
    if task_id in raw[: places[0][0]]:  # a pattern can repeat only what it has met before
        return None
    try:
        return re.compile(b"".join(_pieces(raw, begin, task_id, places)), re.DOTALL)
    except re.error:  # forms save time alone: whatever a stranger sends, the full check stands
        return None


def _pieces(
    raw: bytes, at: int, task_id: bytes, places: list[tuple[int, int, str]]
) -> Iterator[bytes]:
    """The form piece by piece: what is fixed, in which the id may occur again, and the places."""
    for start, end, name in [*places, (len(raw), len(raw), "")]:
        yield b"(?P=id)".join(map(re.escape, raw[at:start].split(task_id)))
        if name:
            yield _PLACES[name]
        at = end
