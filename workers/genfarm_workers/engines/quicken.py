"""Swaps parts of a loaded model for faster ones of the same function.

Same function up to rounding: what is swapped is decided by the model, its
precision and the device alone, so a task's bytes do not depend on it. The
decoder's check at load compares with the model as it stands then. Knows no
token.
"""

import logging
from typing import Any

import torch
from torch import nn

from genfarm_workers.engines.precision import linear_weight

logger = logging.getLogger(__name__)

#: Least weights of a layer that are laid out anew: below, the call costs more than the layout.
_SMALLEST = 65_536
#: Rows of the call that a layout is best for. One number for all batch sizes: layouts differ in
#: their rounding, so workers of the same model must not differ in layout.
_ROWS = 16


class PackedLinear(nn.Module):
    """A linear layer whose weights lie as the CPU's matrix unit reads them.

    The stock layers lay them out anew in every call: for 16 rows that is more
    than half of the time. Serves `nn.Linear` and GPT-2's transposed `Conv1D`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """`weight` is (out, in)."""
        super().__init__()
        self._packed: torch.Tensor
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        # A buffer, so that whoever counts the model's bytes finds it.
        self.register_buffer("_packed", packed, persistent=False)
        self._bias = bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._packed, self._bias, "none", [], ""
        )
        return found

    def unpacked(self) -> nn.Linear:
        """The stock layer of the same weights."""
        weight = self._packed.to_dense()
        outputs, inputs = weight.shape
        linear = nn.Linear(inputs, outputs, bias=self._bias is not None, dtype=weight.dtype)
        linear.weight.copy_(weight)
        if self._bias is not None:
            linear.bias.copy_(self._bias)
        return linear


def quicken(model: Any) -> Any:
    """The model with faster parts."""
    for module in list(model.modules()):
        for name, part in module.named_children():
            if type(part).__name__ == "NewGELUActivation":
                # The same formula in one kernel; written out it is eight, 15 % of a prompt's time.
                setattr(module, name, nn.GELU(approximate="tanh"))
    if model.device.type == "cpu" and model.dtype == torch.bfloat16:
        _pack(model)
    return model


@torch.no_grad()
def unpacked(model: nn.Module) -> nn.Module:
    """The model with stock layers in place of packed ones, for whoever writes it to a file."""
    for module in list(model.modules()):
        for name, part in module.named_children():
            if isinstance(part, PackedLinear):
                setattr(module, name, part.unpacked())
    return model


@torch.no_grad()
def _pack(model: Any) -> None:
    try:
        for module in list(model.modules()):
            for name, part in module.named_children():
                weight = linear_weight(part)
                if weight is not None and weight.numel() >= _SMALLEST:
                    setattr(module, name, PackedLinear(weight, part.bias))
    # The operators are torch's own for compiled models, and no promise of its interface.
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        logger.warning("weights keep their layout, which costs time: %s", str(error)[:200])
