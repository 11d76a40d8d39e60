"""Dead letters in the store: whole, bounded, and marked when they are put back."""

import hashlib

import pytest

from genfarm_shared.errors import NotFound
from genfarm_shared.messages import MAX_BYTES, Letter, write_message
from genfarm_shared.store import Store, burying
from genfarm_shared.tasks import Hint


def letter(body: bytes, *, size: int | None = None) -> Letter:
    return Letter("model.sleep", "not_json", body, len(body) if size is None else size)


def test_a_letter_is_kept_whole_and_shown_escaped(store: Store) -> None:
    body = bytes(range(256)) * 2
    store.bury([letter(body)])
    (found,) = store.list_letters(10)
    assert (found.body, found.size, found.task_id) == (body, 512, None)
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert found.head.isascii()
    assert found.head.isprintable()


def test_of_a_letter_that_is_too_large_the_head_is_kept(store: Store) -> None:
    store.bury([letter(b"x" * 200, size=MAX_BYTES + 1)])
    (found,) = store.list_letters(10)
    assert (found.body, found.size, found.head) == (None, MAX_BYTES + 1, "x" * 200)


def test_a_letter_names_the_task_it_speaks_of(store: Store) -> None:
    raw = write_message(Hint("job1-000007", "sleep", "gone", "k", 1)).encode()
    store.bury([letter(raw)])
    assert store.list_letters(1)[0].task_id == "job1-000007"


def test_a_flood_leaves_the_newest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burying, "KEPT", 5)
    for start in range(0, 12, 3):
        store.bury([letter(b"%d" % (start + n)) for n in range(3)])
    assert [one.head for one in store.list_letters(100)] == ["11", "10", "9", "8", "7"]


def test_a_letter_put_back_is_not_put_back_with_the_rest_again(store: Store) -> None:
    store.bury([letter(b"%d" % n) for n in range(4)])
    first, *rest = store.unreplayed_after(0, 10)
    store.mark_replayed([first.id])
    assert store.unreplayed_after(0, 10) == rest
    assert store.unreplayed_after(rest[0].id, 1) == rest[1:2]
    assert store.read_letters([first.id])[0].replayed_at is not None


def test_letters_are_purged_by_age_and_their_ids_are_not_used_again(store: Store) -> None:
    store.bury([letter(b"a")])
    (old,) = store.list_letters(1)
    assert store.purge_letters(older_than=3600.0) == 0
    assert store.purge_letters(older_than=-1.0) == 1
    store.bury([letter(b"b")])
    assert store.list_letters(1)[0].id > old.id
    assert store.purge_letters() == 1
    with pytest.raises(NotFound, match="deadletters ls"):
        store.read_letters([old.id])
