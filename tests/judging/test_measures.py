"""Every measure on sets whose figure is known beforehand."""

import math

import numpy as np
import pytest

from genfarm_workers.judging.inception_score import inception_score
from genfarm_workers.judging.kernel import kernel_distance
from genfarm_workers.judging.manifolds import coverage
from genfarm_workers.judging.wording import distinct, mean_length, words_of


def normal(seed: int, rows: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width))


def test_the_kernel_distance_of_one_distribution_is_nought_on_average() -> None:
    """Over 25 draws; of other seeds than these 1 run in 2,000 is 4 standard errors off."""
    found = [kernel_distance(normal(2 * i, 40), normal(2 * i + 1, 60)).value for i in range(25)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))
    assert min(found) < 0 < max(found)


def test_the_kernel_distance_grows_as_sets_move_apart() -> None:
    near = kernel_distance(normal(0, 200), normal(1, 200) + 0.2)
    far = kernel_distance(normal(0, 200), normal(1, 200) + 1.0)
    assert 0 < near.value < far.value
    assert far.spread > 0


def test_the_kernel_distance_is_the_plain_double_sum() -> None:
    a, b = normal(3, 5), normal(4, 7)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 8 + 1) ** 3)

    within_a = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    between = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b).value == pytest.approx(within_a + within_b - 2 * between)


def test_the_inception_score_of_sure_and_even_labels_is_the_number_of_classes() -> None:
    assert inception_score(np.eye(10)) == pytest.approx(10)
    assert inception_score(np.repeat(np.eye(10)[:1], 5, axis=0)) == pytest.approx(1)
    assert inception_score(np.full((4, 10), 0.1)) == pytest.approx(1)
    # Half sure, half of either: exp(ln 2 / 2) by hand.
    halves = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])
    assert inception_score(halves) == pytest.approx(math.sqrt(2))


def test_precision_and_recall_are_1_for_the_same_set_and_0_for_sets_far_apart() -> None:
    rows = normal(5, 50)
    same, apart = coverage(rows, rows), coverage(rows, rows + 100)
    assert (same.precision, same.recall) == (1.0, 1.0)
    assert (apart.precision, apart.recall) == (0.0, 0.0)


def test_a_set_that_shows_one_mode_of_two_has_precision_without_recall() -> None:
    real = np.concatenate([normal(6, 200, 2), normal(7, 200, 2) + 50])
    found = coverage(normal(8, 200, 2), real)
    assert found.precision > 0.8
    assert found.recall == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("measure", [kernel_distance, coverage])
def test_sets_too_small_to_measure_are_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="expected"):
        measure(np.zeros((1, 4)), np.zeros((9, 4)))
    with pytest.raises(ValueError, match="each row of sum 1"):
        inception_score([[0.5, 0.6]])


def test_distinct_counts_runs_of_words_over_all_texts() -> None:
    texts = [words_of("The cat sat. The cat ran!"), words_of("the CAT sat")]
    assert distinct(texts, 1) == (4 / 9, 9)
    assert distinct(texts, 2) == (4 / 7, 7)
    assert distinct(texts, 9) == (0.0, 0)
    assert mean_length(texts) == 4.5
