"""Widens the narrowest layers of a loaded model, so that rows of a batch are computed alike.

A CPU's matrix product of two or three columns takes the last rows of a batch in another way
than the first, and a task's bytes would depend on its place. Seen with torch 2.13 and MKL
for up to 3 outputs and up to 12 rows; from 4 outputs on for none of 2 to 64 rows.
Knows no model.
"""

from typing import Any

import torch
from torch import nn

#: Outputs that a layer has at least.
_LEAST = 16


class WideLinear(nn.Module):
    """A linear layer with outputs of zeros behind its own, which are cut off again."""

    def __init__(self, narrow: nn.Linear) -> None:
        super().__init__()
        self._outputs = narrow.out_features
        self._wide = nn.Linear(
            narrow.in_features, _LEAST, device=narrow.weight.device, dtype=narrow.weight.dtype
        )
        with torch.no_grad():
            self._wide.weight.zero_()[: self._outputs] = narrow.weight
            self._wide.bias.zero_()
            if narrow.bias is not None:
                self._wide.bias[: self._outputs] = narrow.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._wide(states)
        return found[..., : self._outputs]


def widen(model: Any) -> Any:
    """The model with no linear layer of fewer than 16 outputs."""
    for module in list(model.modules()):
        for name, part in module.named_children():
            # The exact type: a subclass may compute something else.
            if type(part) is nn.Linear and part.out_features < _LEAST:
                setattr(module, name, WideLinear(part).eval())
    return model
