"""Precision and recall of generated samples by nearest neighbours (arXiv 1904.06991).

A set's manifold is the union of balls around its rows, each reaching to the
k-th nearest other row. Knows no picture and no classifier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]

#: Neighbours that a ball reaches: the paper's choice.
NEIGHBOURS = 3
#: Rows whose distances are taken at once; bounds memory.
CHUNK = 512


@dataclass(frozen=True, slots=True)
class Coverage:
    """How two sets cover each other, shares from 0 to 1."""

    #: Generated rows that lie on the real manifold: is each one plausible?
    precision: float
    #: Real rows that lie on the generated manifold: is everything there?
    recall: float


def coverage(generated: ArrayLike, real: ArrayLike, neighbours: int = NEIGHBOURS) -> Coverage:
    """Of features (N, D) and (M, D). Raises ValueError for sets without that many neighbours.

    Both grow with the number of rows that span the manifold: compare only equal N and M.
    """
    ours, theirs = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    if min(len(ours), len(theirs)) <= neighbours:
        raise ValueError(
            f"{len(ours)} and {len(theirs)} rows; expected more than {neighbours} in either set"
        )
    return Coverage(
        precision=_share_on(theirs, _reaches(theirs, neighbours), ours),
        recall=_share_on(ours, _reaches(ours, neighbours), theirs),
    )


def _reaches(rows: Matrix, neighbours: int) -> Matrix:
    """Squared radius of each row's ball, (N,). The nearest row of all is the row itself."""
    found = [
        np.partition(_distances(rows[start : start + CHUNK], rows), neighbours, axis=1)
        for start in range(0, len(rows), CHUNK)
    ]
    reaches: Matrix = np.concatenate([part[:, neighbours] for part in found])
    return reaches


def _share_on(manifold: Matrix, reaches: Matrix, rows: Matrix) -> float:
    inside = [
        (_distances(rows[start : start + CHUNK], manifold) <= reaches).any(axis=1)
        for start in range(0, len(rows), CHUNK)
    ]
    return float(np.concatenate(inside).mean())


def _distances(a: Matrix, b: Matrix) -> Matrix:
    """Squared, (A, B). By products, as differences would take A x B x D numbers."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * (a @ b.T)
    distances: Matrix = squares.clip(min=0)
    return distances
