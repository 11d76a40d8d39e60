"""The precision that the registry asks for: the type weights are loaded in, and int8.

int8 here is a weight of eight bits per number, scaled by row of the matrix, and
activations of eight bits, scaled by row of the batch. torch's own dynamic
quantisation takes one scale for a whole batch, so that a task's output would
depend on its batch mates; it was also the less exact, by half. Sums of
products of integers are exact, so a row's numbers here are the same alone and
in any company. Knows no engine.
"""

from typing import Any

import torch
from torch import nn

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.weights import choose_dtype

INT8 = "int8"
#: Least share of a model's numbers that lie in layers which int8 serves: below, it would cost
#: exactness and spare next to nothing.
_WORTHWHILE = 0.25
#: The largest number of eight bits with a sign; its negative has one too, -128 is not used.
_LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer of int8 weights. Serves `nn.Linear` and GPT-2's transposed `Conv1D`."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """`weight` is (out, in)."""
        super().__init__()
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.bias: torch.Tensor | None
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / _LARGEST
        # Buffers, so that whoever counts the model's bytes finds them. (out, in) and read
        # transposed: twice as fast for few rows as (in, out).
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        rows = states.reshape(-1, states.shape[-1])
        scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _LARGEST
        small = rows.div(scale).round_().to(torch.int8)
        found = torch._int_mm(small, self.weight.t()).to(states.dtype).mul_(self.scale).mul_(scale)
        if self.bias is not None:
            found.add_(self.bias)
        return found.reshape(*states.shape[:-1], -1)


def load_dtype(entry: ModelEntry, device: str) -> torch.dtype:
    """For an engine that hands its model to `lowered` behind the load. Raises ModelUnavailable."""
    if entry.dtype != INT8:
        return choose_dtype(entry, device)
    if device != "cpu":
        raise ModelUnavailable(
            f"model {entry.key!r}: dtype 'int8' is for workers on a CPU, and this one is on "
            f"{device}. Set dtype to bfloat16 in models.toml"
        )
    return torch.float32


def lowered(model: Any, entry: ModelEntry) -> Any:
    """The loaded model in the registry's int8, or as it is.

    Raises ModelUnavailable for a model that has next to no linear layers.
    """
    if entry.dtype != INT8:
        return model
    share = _linear_share(model)
    if share < _WORTHWHILE:
        raise ModelUnavailable(
            f"model {entry.key!r}: dtype 'int8' is for linear layers, and those hold {share:.0%} "
            "of this model's numbers. Set dtype to bfloat16 or float32 in models.toml"
        )
    for module in list(model.modules()):
        for name, part in module.named_children():
            weight = linear_weight(part)
            if weight is not None:
                setattr(module, name, _quantised(weight, part.bias))
    return model


def is_lowered(model: nn.Module) -> bool:
    return any(isinstance(module, Int8Linear) for module in model.modules())


def linear_weight(part: nn.Module) -> torch.Tensor | None:
    """(out, in), for the two exact types: a subclass may compute something else."""
    kind = type(part)
    is_transposed = kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"
    if kind is not nn.Linear and not is_transposed:
        return None
    weight: Any = part.weight
    found: torch.Tensor = weight.T if is_transposed else weight
    return found


@torch.no_grad()
def _quantised(weight: torch.Tensor, bias: Any) -> Int8Linear:
    return Int8Linear(weight, None if bias is None else bias.detach().clone())


def _linear_share(model: nn.Module) -> float:
    weights = [linear_weight(part) for part in model.modules()]
    served = sum(weight.numel() for weight in weights if weight is not None)
    return served / max(1, sum(parameter.numel() for parameter in model.parameters()))
