"""The Inception Score: how sure a classifier is of each picture, and how varied (arXiv 1606.03498).

exp of the mean Kullback-Leibler distance between a picture's labels and those
of all pictures together. Knows no picture and no classifier.
"""

import numpy as np
from numpy.typing import ArrayLike


def inception_score(probabilities: ArrayLike) -> float:
    """From 1 (all alike, or no idea) to the number of classes, for probabilities (N, classes).

    With few pictures it is too low: N pictures can show N classes at most. Raises ValueError.
    """
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or not len(rows) or (rows < 0).any() or abs(rows.sum(1) - 1).max() > 1e-3:
        raise ValueError(
            f"probabilities of shape {rows.shape}; expected (N, classes), none below 0 and each "
            "row of sum 1"
        )
    overall = rows.mean(axis=0)
    # Where a probability is 0 its summand is 0 too; the logarithm of 0 is not taken.
    ratio = np.divide(rows, overall, out=np.ones_like(rows), where=rows > 0)
    return float(np.exp((rows * np.log(ratio)).sum(axis=1).mean()))
