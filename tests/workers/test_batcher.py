"""The batcher loses nothing, doubles nothing, mixes no keys and starves no model."""

from hypothesis import given
from hypothesis import strategies as st

from genfarm_shared.tasks import ALONE, Hint
from genfarm_workers.batcher import Batcher

SLOTS = {"text": 8, "image": 4}


def hint(number: int, model: str = "text", key: str = "text", rows: int = 1) -> Hint:
    return Hint(f"t{number}", "kind", model, key, rows)


def drain(batcher: Batcher) -> list[list[str]]:
    batches = []
    while (batch := batcher.next_batch({})) is not None:
        batches.append([waiting.task_id for waiting in batch.hints])
    return batches


def test_what_waits_goes_at_once_however_little() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1))
    batch = batcher.next_batch({})
    assert batch is not None
    assert [waiting.task_id for waiting in batch.hints] == ["t1"]


def test_a_task_that_waits_is_not_admitted_again() -> None:
    batcher = Batcher(SLOTS)
    assert batcher.admit(hint(1))
    assert not batcher.admit(hint(1))
    assert drain(batcher) == [["t1"]]


def test_a_batch_is_no_larger_than_the_engine() -> None:
    batcher = Batcher(SLOTS)
    for number in range(20):
        batcher.admit(hint(number))
    assert [len(batch) for batch in drain(batcher)] == [8, 8, 4]


def test_the_engine_is_kept_one_load_ahead_and_no_more() -> None:
    batcher = Batcher(SLOTS)
    for number in range(20):
        batcher.admit(hint(number))
    assert batcher.next_batch({"text": 8}) is not None
    assert batcher.next_batch({"text": 16}) is None
    assert batcher.next_batch({"text": 15}) is None  # one free row is not worth a claim


def test_models_take_turns() -> None:
    batcher = Batcher(SLOTS)
    for number in range(24):
        batcher.admit(hint(number))
        batcher.admit(hint(100 + number, "image", "image"))
    models = []
    while (batch := batcher.next_batch({})) is not None:
        models.append(batch.model)
    assert models[:6] == ["text", "image"] * 3


def test_a_suspect_waits_until_the_engine_is_idle() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1, key=f"{ALONE}t1"))
    batcher.admit(hint(2, "image", "image"))
    assert batcher.next_batch({"image": 1}) is None  # nothing else goes before it, or it starves
    batch = batcher.next_batch({"image": 0})
    assert batch is not None
    assert batch.is_alone


def test_a_task_of_more_rows_than_the_engine_has_still_goes() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1, rows=64))
    assert drain(batcher) == [["t1"]]


def test_a_model_has_room_until_a_whole_load_waits() -> None:
    batcher = Batcher(SLOTS)
    room = []
    for number in range(6):
        room.append(batcher.room("image"))
        batcher.admit(hint(number, "image", "image"))
    assert room == [4, 3, 2, 1, 0, 0]
    assert batcher.room("text") == SLOTS["text"]


KEYS = st.sampled_from([("text", "a"), ("text", "b"), ("image", "c"), ("image", "d")])


@given(st.lists(st.tuples(st.integers(0, 60), KEYS, st.integers(1, 6))))
def test_every_task_leaves_once_with_its_own_key(
    arrivals: list[tuple[int, tuple[str, str], int]],
) -> None:
    batcher = Batcher(SLOTS)
    admitted = {}
    for number, (model, key), rows in arrivals:
        if batcher.admit(hint(number, model, key, rows)):
            admitted[f"t{number}"] = key
    left = []
    while (batch := batcher.next_batch({})) is not None:
        assert {admitted[waiting.task_id] for waiting in batch.hints} == {batch.batch_key}
        rows = sum(min(waiting.rows, SLOTS[batch.model]) for waiting in batch.hints)
        assert rows <= SLOTS[batch.model]
        left += [waiting.task_id for waiting in batch.hints]
    assert sorted(left) == sorted(admitted)
    assert batcher.waiting() == 0
