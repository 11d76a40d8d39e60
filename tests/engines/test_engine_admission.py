"""Who gets a free seat: near lengths together, and nobody is overtaken for ever."""

from genfarm_workers.engines.admission import Waiting
from genfarm_workers.engines.continuation import Continuation, Detokenizer


class NoWords:
    def decode(self, token_ids: object, **options: object) -> str:
        return ""


def rows_of(task_id: str, length: int, n: int = 1) -> list[Continuation]:
    ids = [1] * length
    words = Detokenizer(NoWords(), ids)
    return [Continuation(task_id, k, ids, {}, 0, frozenset(), words) for k in range(n)]


def filled(*lengths: int, patience: int = 200) -> Waiting:
    waiting = Waiting(patience)
    for place, length in enumerate(lengths):
        waiting.add(rows_of(f"t{place}", length))
    return waiting


def order(waiting: Waiting, reach: int) -> list[str]:
    taken = []
    while len(waiting):
        taken += [row.task_id for row in waiting.take(1, reach)]
    return taken


def test_the_nearest_in_length_to_the_longest_seated_row_goes_first() -> None:
    assert order(filled(10, 500, 60, 490), reach=495) == ["t1", "t3", "t2", "t0"]


def test_without_seated_rows_the_oldest_goes_first() -> None:
    assert order(filled(10, 500, 60), reach=0) == ["t0", "t1", "t2"]


def test_nobody_is_overtaken_more_often_than_patience_allows() -> None:
    """Long prompts keep coming, and the short one's turn comes all the same."""
    waiting = filled(5, patience=7)
    taken: list[str] = []
    for place in range(100):
        waiting.add(rows_of(f"long{place}", 600))
        taken += [row.task_id for row in waiting.take(1, reach=600)]
    assert taken.index("t0") == 7


def test_the_rows_of_a_task_go_together_and_a_task_that_has_begun_is_the_next() -> None:
    waiting = Waiting()
    waiting.add(rows_of("other", 600))
    waiting.add(rows_of("wide", 20, n=5))
    assert [row.k for row in waiting.take(3, reach=25)] == [0, 1, 2]
    assert [(row.task_id, row.k) for row in waiting.take(3, reach=600)] == [
        ("wide", 3),
        ("wide", 4),
    ]
    assert [row.task_id for row in waiting.take(3, reach=600)] == ["other"]


def test_a_task_that_is_discarded_is_not_seated() -> None:
    waiting = filled(10, 20)
    waiting.discard({"t0"})
    assert order(waiting, reach=0) == ["t1"]
