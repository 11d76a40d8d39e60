"""The kernel distance of two sets of features, as KID takes it (arXiv 1801.01401).

The unbiased estimate of the squared maximum mean discrepancy under the cubic
kernel (x·y / D + 1)³. Knows no picture and no classifier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]

#: Rows of a subset at most, and subsets: those of the paper's own code.
SUBSET, SUBSETS = 1000, 100


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """KID, and how far it scatters."""

    #: Over all rows; about 0 for sets of one distribution, and below it as often as above.
    value: float
    #: Standard deviation over random subsets of half the rows; 0 where there are too few.
    spread: float


def kernel_distance(features_a: ArrayLike, features_b: ArrayLike, seed: int = 0) -> KernelDistance:
    """How far apart features (N, D) and (M, D) lie; unbiased, whatever N and M. Raises ValueError.

    `seed` chooses the subsets that `spread` is taken over.
    """
    a, b = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features of shapes {a.shape} and {b.shape}; expected (N, D) and (M, D) with two "
            "rows at least"
        )
    size = min(len(a), len(b), 2 * SUBSET) // 2
    random = np.random.default_rng(seed)
    parts = [
        _discrepancy(
            a[random.choice(len(a), size, replace=False)],
            b[random.choice(len(b), size, replace=False)],
        )
        for _ in range(SUBSETS if size > 1 else 0)
    ]
    return KernelDistance(_discrepancy(a, b), float(np.std(parts)) if parts else 0.0)


def _discrepancy(a: Matrix, b: Matrix) -> float:
    """A row is never held against itself: that is what keeps the estimate unbiased."""
    within_a, within_b = _kernel(a, a), _kernel(b, b)
    alike_a = (within_a.sum() - np.trace(within_a)) / (len(a) * (len(a) - 1))
    alike_b = (within_b.sum() - np.trace(within_b)) / (len(b) * (len(b) - 1))
    return float(alike_a + alike_b - 2 * _kernel(a, b).mean())


def _kernel(a: Matrix, b: Matrix) -> Matrix:
    kernel: Matrix = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel
