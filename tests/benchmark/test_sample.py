"""What the slow arms of benchmarks do is like what the others do, and what is compared is there."""

import math
import random

import pytest
import torch

from genfarm_workers.benchmark.image import largest_error, prompt_of
from genfarm_workers.benchmark.sample import sample


def test_a_few_of_many_cost_what_the_many_do_and_keep_their_order() -> None:
    chance = random.Random(7)
    many = [(chance.randint(8, 700), chance.randint(1, 128)) for _ in range(32)]
    few = sample(many, 8, lambda one: one)
    assert [many.index(one) for one in few] == sorted(many.index(one) for one in few)
    for kind in (0, 1):
        mean, of_all = (sum(one[kind] for one in found) / len(found) for found in (few, many))
        assert mean == pytest.approx(of_all, rel=0.03)


def test_an_error_is_infinite_where_our_picture_has_no_number_at_any_place() -> None:
    fine, off = torch.ones(3), torch.tensor([1.0, 1.5, 1.0])
    hole = torch.tensor([1.0, 1.0, math.nan])
    assert largest_error({"a": fine, "b": fine}, {"a": fine, "b": off}) == 0.5
    assert largest_error({"a": fine, "b": fine}, {"a": off, "b": hole}) == math.inf
    assert largest_error({"a": hole, "b": fine}, {"a": hole, "b": fine}) == 0.0
    assert largest_error({"a": hole}, {"a": fine}) == math.inf


def test_no_prompt_comes_twice() -> None:
    prompts = [prompt_of(turn, index) for turn in range(12) for index in range(64)]
    assert len(set(prompts)) == len(prompts)
