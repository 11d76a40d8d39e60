"""The batcher loses nothing, doubles nothing, mixes no keys and starves nobody."""

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from genfarm_shared.tasks import ALONE, Hint
from genfarm_workers.batcher import AGE, TOP, Batch, Batcher

SLOTS = {"text": 8, "image": 4}


def hint(
    number: int, model: str = "text", key: str = "text", rows: int = 1, priority: int = 0
) -> Hint:
    return Hint(f"t{number}", "kind", model, key, rows, priority)


def ids(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [waiting.task_id for waiting in batch.hints]


def drain(batcher: Batcher, now: float = 0.0) -> list[list[str]]:
    batches = []
    while (batch := batcher.next_batch({}, now)) is not None:
        batches.append(ids(batch))
    return batches


def test_what_waits_goes_at_once_however_little() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1), 0.0)
    assert ids(batcher.next_batch({}, 0.0)) == ["t1"]


def test_a_task_that_waits_is_not_admitted_again() -> None:
    batcher = Batcher(SLOTS)
    assert batcher.admit(hint(1), 0.0)
    assert not batcher.admit(hint(1), 0.0)
    assert drain(batcher) == [["t1"]]


def test_a_batch_is_no_larger_than_the_engine() -> None:
    batcher = Batcher(SLOTS)
    for number in range(20):
        batcher.admit(hint(number), 0.0)
    assert [len(batch) for batch in drain(batcher)] == [8, 8, 4]


def test_the_engine_is_kept_one_load_ahead_and_no_more() -> None:
    batcher = Batcher(SLOTS)
    for number in range(20):
        batcher.admit(hint(number), 0.0)
    assert batcher.next_batch({"text": 8}, 0.0) is not None
    assert batcher.next_batch({"text": 16}, 0.0) is None
    assert batcher.next_batch({"text": 15}, 0.0) is None  # one free row is not worth a claim


def test_models_take_turns() -> None:
    batcher = Batcher(SLOTS)
    for number in range(24):
        batcher.admit(hint(number), 0.0)
        batcher.admit(hint(100 + number, "image", "image"), 0.0)
    models = []
    while (batch := batcher.next_batch({}, 0.0)) is not None:
        models.append(batch.model)
    assert models[:6] == ["text", "image"] * 3


def test_a_suspect_waits_until_the_engine_is_idle() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1, key=f"{ALONE}t1"), 0.0)
    batcher.admit(hint(2, "image", "image"), 0.0)
    assert (
        batcher.next_batch({"image": 1}, 0.0) is None
    )  # nothing else goes before it, or it starves
    batch = batcher.next_batch({"image": 0}, 0.0)
    assert batch is not None
    assert batch.is_alone


def test_a_task_of_more_rows_than_the_engine_has_still_goes() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1, rows=64), 0.0)
    assert drain(batcher) == [["t1"]]


def test_a_model_has_room_until_a_whole_load_waits() -> None:
    batcher = Batcher(SLOTS)
    room = []
    for number in range(6):
        room.append(batcher.room("image"))
        batcher.admit(hint(number, "image", "image"), 0.0)
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
        if batcher.admit(hint(number, model, key, rows), 0.0):
            admitted[f"t{number}"] = key
    left = []
    while (batch := batcher.next_batch({}, 0.0)) is not None:
        assert {admitted[waiting.task_id] for waiting in batch.hints} == {batch.batch_key}
        rows = sum(min(waiting.rows, SLOTS[batch.model]) for waiting in batch.hints)
        assert rows <= SLOTS[batch.model]
        left += [waiting.task_id for waiting in batch.hints]
    assert sorted(left) == sorted(admitted)
    assert batcher.waiting() == 0


def test_the_more_urgent_of_a_line_and_of_all_lines_goes_first() -> None:
    batcher = Batcher(SLOTS)
    for number, priority in enumerate([0, 3, 9, 3]):
        batcher.admit(hint(number, priority=priority), 0.0)
    batcher.admit(hint(10, "image", "image", priority=5), 0.0)
    assert drain(batcher) == [["t2", "t1", "t3", "t0"], ["t10"]]
    batcher.admit(hint(1), 0.0)
    batcher.admit(hint(2, "image", "image", priority=1), 0.0)
    assert drain(batcher) == [["t2"], ["t1"]]


def test_what_was_begun_before_goes_before_what_was_not() -> None:
    batcher = Batcher(SLOTS)
    batcher.admit(hint(1, priority=TOP - 1), 0.0)
    batcher.admit(Hint("redo", "kind", "image", "image", 1, is_redo=True), 0.0)
    assert drain(batcher) == [["redo"], ["t1"]]


def test_what_is_not_urgent_waits_for_a_bounded_time_among_what_is() -> None:
    """Urgent tasks fill every load for ever; the other one goes as soon as it has aged."""
    batcher, numbers, now = Batcher(SLOTS), count(), 0.0
    batcher.admit(Hint("patient", "kind", "text", "text", 1), now)
    while now < 2 * TOP * AGE:
        for _ in range(SLOTS["text"]):
            batcher.admit(hint(next(numbers), priority=TOP), now)
        if "patient" in ids(batcher.next_batch({}, now)):
            break
        now += AGE / 4
    assert TOP * AGE <= now <= (TOP + 1) * AGE


@given(st.integers(1, 8), st.integers(1, 4), st.lists(st.integers(8, 16), max_size=60))
def test_keys_that_always_wait_share_by_rows(wide: int, image: int, free: list[int]) -> None:
    """Whatever a task's rows and however few are free at a time: in loads of its engine,
    nobody is ahead of another by more than a turn and one batch."""
    batcher, numbers, had = Batcher(SLOTS), count(), Counter[str]()
    lines = {"wide": ("text", wide), "narrow": ("text", 1), "image": ("image", image)}
    for rest in free:
        for key, (model, rows) in lines.items():
            for _ in range(SLOTS["text"]):
                batcher.admit(hint(next(numbers), model, key, rows), 0.0)
        batch = batcher.next_batch({"text": 16 - rest, "image": 8 - rest // 2}, 0.0)
        assert batch is not None
        had[batch.batch_key] += sum(waiting.rows for waiting in batch.hints)
    loads = [had["wide"] / 8, had["narrow"] / 8, had["image"] / 4]
    assert max(loads) - min(loads) <= 2


def test_room_counts_rows_that_left_came_and_were_shed() -> None:
    batcher = Batcher(SLOTS)
    for number in range(6):
        batcher.admit(hint(number, rows=2), 0.0)
    assert batcher.room("text") == 0
    batcher.next_batch({"text": 14}, 0.0)
    assert batcher.room("text") == 0
    batcher.next_batch({}, 0.0)
    assert (batcher.room("text"), batcher.rows_waiting()) == (6, {"text": 2})
    assert [shed.task_id for shed in batcher.shed("text".__eq__)] == ["t5"]
    assert (batcher.room("text"), batcher.waiting()) == (8, 0)


def test_an_engine_that_was_measured_has_another_load() -> None:
    slots = {"text": 16}
    batcher = Batcher(slots)
    for number in range(5):
        batcher.admit(hint(number, rows=12), 0.0)
    slots["text"] = 128
    assert batcher.room("text") == 128 - 5 * 12
    slots["text"] = 8
    assert batcher.room("text") == 0
    assert drain(batcher) == [[f"t{number}"] for number in range(5)]


def test_a_task_wider_than_a_measured_engine_still_goes_and_makes_room() -> None:
    """Else it waited for room that no engine of that size ever has, and kept the rest away."""
    slots = {"text": 16}
    batcher = Batcher(slots)
    batcher.admit(hint(1, rows=16), 0.0)
    slots["text"] = 4
    assert batcher.next_batch({"text": 5}, 0.0) is None
    assert ids(batcher.next_batch({"text": 4}, 0.0)) == ["t1"]
    assert batcher.room("text") == 4
