"""Narrow layers: widened, they say the same, and every row of a batch is computed alike."""

import pytest
import torch
from torch import nn

from genfarm_workers.engines.heads import widen


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_rows_of_a_widened_layer_are_bit_equal_and_near_the_plain_ones(outputs: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, outputs))
    states = torch.randn(1, 64)
    plain = model(states)
    wide = widen(model)
    for rows in range(2, 13):  # sizes at which the plain layer's rows differ on some CPUs
        found = wide(states.expand(rows, -1).contiguous())
        assert torch.equal(found, found[:1].expand(rows, -1))
        assert torch.allclose(found[:1], plain, atol=1e-6)


def test_other_layers_stay_as_they_are() -> None:
    wide, narrow = nn.Linear(4, 16), nn.Sequential(nn.Linear(16, 2, bias=False))
    model = widen(nn.Sequential(wide, narrow))
    assert model[0] is wide
    assert narrow(torch.zeros(3, 16)).tolist() == [[0.0, 0.0]] * 3
