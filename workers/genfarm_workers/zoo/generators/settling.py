"""Takes the batch norms of averaged weights anew: those of the last step belong to others."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

#: Batches that they are taken over: some 2,000 pictures. Not tuned.
BATCHES = 32

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def settle(module: Module, forward: Callable[[], object]) -> Module:
    """Call `forward`, which sends one batch through the module, so often as its norms need."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    module.train()
    for _ in range(BATCHES):
        forward()
    return module.eval()
