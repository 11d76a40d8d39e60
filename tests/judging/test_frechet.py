"""The Frechet distance against its closed forms."""

import numpy as np
import pytest

from genfarm_workers.judging.frechet import frechet_distance

CHANCE = np.random.default_rng(3)


def test_a_set_is_at_no_distance_from_itself() -> None:
    features = CHANCE.normal(size=(200, 16))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_a_shift_counts_by_its_square() -> None:
    features = CHANCE.normal(size=(200, 8))
    assert frechet_distance(features, features + 3) == pytest.approx(8 * 9)


def test_a_spread_counts_by_the_difference_of_the_deviations() -> None:
    features = CHANCE.normal(size=(200, 8))
    spread = np.square(features.std(axis=0, ddof=1)).sum()
    assert frechet_distance(features, 3 * (features - features.mean(axis=0))) == pytest.approx(
        4 * spread + np.square(features.mean(axis=0)).sum()
    )


def test_covariances_that_do_not_commute_agree_with_the_eigenvalues_of_their_product() -> None:
    a, b = (CHANCE.normal(size=(50, 5)) @ CHANCE.normal(size=(5, 5)) for _ in range(2))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shared = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real).sum()
    expected = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() - 2 * shared
    expected += sum(np.trace(covariance) for covariance in covariances)
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_fewer_rows_than_features_and_dead_features_do_no_harm() -> None:
    features = CHANCE.normal(size=(6, 32))
    features[:, 5] = 0
    assert frechet_distance(features, features + 1) == pytest.approx(32)


@pytest.mark.parametrize(
    ("shape", "said"), [((5, 3), "4 and 3 feat"), ((1, 4), r"second.*two rows"), ((4,), "shape")]
)
def test_sets_that_cannot_be_compared_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        frechet_distance(np.ones((5, 4)), np.ones(shape))


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"first set.*not finite"):
        frechet_distance(np.full((4, 2), np.nan), np.ones((4, 2)))
