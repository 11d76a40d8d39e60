"""The Frechet distance of two sets of features, as FID takes it (arXiv 1706.08500).

It knows no picture and no classifier: whoever calls has made the features.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """How far apart the normal distributions of features (N, D) and (M, D) lie; 0 for equal ones.

    In float64. Needs no more rows than two, but is biased upwards where N or M is not well
    above D: compare only figures of equal N and M. Raises ValueError.
    """
    a, b = _checked(features_a, "first"), _checked(features_b, "second")
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"the sets have {a.shape[1]} and {b.shape[1]} features a row; expected equally many. "
            "Take both from one classifier"
        )
    covariance_a, covariance_b = _covariance(a), _covariance(b)
    between = float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum())
    # tr sqrt(A B) is the sum of the singular values of sqrt(A) sqrt(B). Unlike the square root
    # of A B itself it is real, also where a covariance is singular.
    shared = np.linalg.svd(_root(covariance_a) @ _root(covariance_b), compute_uv=False).sum()
    spread = float(np.trace(covariance_a) + np.trace(covariance_b) - 2 * shared)
    return max(between + spread, 0.0)


def _checked(features: ArrayLike, which: str) -> Matrix:
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise ValueError(
            f"the {which} set of features has shape {matrix.shape}; expected (rows, features) "
            "with two rows at least"
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"the {which} set of features holds numbers that are not finite")
    return matrix


def _covariance(features: Matrix) -> Matrix:
    centred = features - features.mean(axis=0)
    covariance: Matrix = centred.T @ centred / (len(features) - 1)
    return covariance


def _root(covariance: Matrix) -> Matrix:
    """The symmetric square root; rounding makes small eigenvalues negative, so they are cut."""
    values, vectors = np.linalg.eigh(covariance)
    root: Matrix = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
