"""A few of many tasks that cost what the many do, for arms whose rate does not depend on how many.

Knows no task.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Draws of which the best is taken: the means are then off by a percent or so.
_DRAWS = 2000


def sample(many: Sequence[T], count: int, costs: Callable[[T], Sequence[float]]) -> list[T]:
    """`count` of them, in their order, whose mean costs are nearest to those of all."""
    found = [costs(one) for one in many]
    wanted = _means(found, range(len(found)))
    chance = random.Random(4)  # noqa: S311  # a workload, not a secret

    def miss(places: Sequence[int]) -> float:
        return max(abs(a / b - 1) for a, b in zip(_means(found, places), wanted, strict=True))

    draws = (sorted(chance.sample(range(len(many)), count)) for _ in range(_DRAWS))
    return [many[place] for place in min(draws, key=miss)]


def _means(costs: Sequence[Sequence[float]], places: Sequence[int]) -> list[float]:
    return [
        sum(costs[place][kind] for place in places) / len(places) for kind in range(len(costs[0]))
    ]
