"""What fits a form is read as the full check reads it, and nothing else fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genfarm_shared.forms import LONGEST, WORTH, Forms
from genfarm_shared.messages import Refused, open_message, read_hint, write_message
from genfarm_shared.tasks import Hint
from tests.faults.bad_messages import forge_with_id_first

BYTES = st.one_of(st.sampled_from([b'"', b"\\", b"}", b":", b"0", b"\x00"]), st.binary(max_size=3))


def message(number: int, priority: int = 0) -> bytes:
    return write_message(Hint(f"j-{number:06d}", "sleep", "m", "m|8", 2, priority)).encode()


def practised() -> Forms:
    """A reader that has seen enough messages of one form."""
    forms = Forms()
    for number in range(WORTH):
        forms.read(message(number), len(message(number)))
    assert len(forms._forms) == 1
    return forms


def in_full(raw: bytes) -> tuple[object, ...]:
    try:
        envelope = open_message(raw)
        headers = envelope["headers"]
        return read_hint(envelope), headers.get("shadow"), headers.get("argsrepr")
    except Refused as refused:
        return (refused.reason,)


def by_forms(forms: Forms, raw: bytes) -> tuple[object, ...]:
    try:
        opened = forms.read(raw, len(raw))
        return opened.hint, opened.shadow, opened.argsrepr
    except Refused as refused:
        return (refused.reason,)


def test_a_message_that_fits_says_what_it_says_in_full() -> None:
    forms = practised()
    for number in range(100):
        raw = message(number, number % 10)
        assert forms._forms[raw.partition(b'"id"')[0]].pattern.fullmatch(raw, raw.index(b'"id"')), (
            "it fits"
        )
        assert by_forms(forms, raw) == in_full(raw)


@given(place=st.integers(0, 10_000), removed=st.integers(0, 3), put=BYTES)
def test_a_message_that_was_tampered_with_is_judged_as_in_full(
    place: int, removed: int, put: bytes
) -> None:
    raw = message(7)
    place %= len(raw)
    changed = raw[:place] + put + raw[place + removed :]
    assert by_forms(practised(), changed) == in_full(changed)


def test_a_message_whose_places_cannot_be_told_makes_no_form() -> None:
    """Here its words for people hold what looks like another place."""
    forms = Forms()
    for number in range(2 * WORTH):
        raw = message(number).replace(b'"lang"', b'"priority":1,"lang"')
        assert by_forms(forms, raw) == in_full(raw)
    assert not forms._forms


@pytest.mark.parametrize("task_id", ["id", "i", "headers"])
def test_an_id_that_is_a_part_of_what_stands_before_it_makes_no_form(task_id: str) -> None:
    """It would be sought again in a place that comes before its own."""
    forms, raw = Forms(), forge_with_id_first(task_id)
    for _ in range(2 * WORTH):
        assert by_forms(forms, raw) == in_full(raw)
    assert not forms._forms


def test_a_message_longer_than_a_farms_leaves_nothing_behind() -> None:
    forms = Forms()
    for number in range(2 * WORTH):
        raw = message(number).replace(b'"{}"', b'"%s"' % (b"x" * LONGEST))
        assert by_forms(forms, raw) == in_full(raw)
    assert not forms._forms
    assert not forms._seen


def test_the_longest_message_of_a_farm_can_make_a_form() -> None:
    longest = Hint("j" * 64, "k" * 64, "m" * 64, "b" * 200, 10**6)
    assert len(write_message(longest)) <= LONGEST
