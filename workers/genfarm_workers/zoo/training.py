"""What every training run here shares: its plan, its pace, its average and its record.

It knows no model and no data. Nothing in a run reads the clock except the record
of how long it took, so the seed, the number of steps and the number of threads
determine the weights on one machine.
"""

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

#: File beside the weights that says how they came to be.
RECORD = "training.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run, before it starts."""

    #: Directory that receives the weights.
    out: Path
    #: Seed of weights, data order and augmentation.
    seed: int
    #: Optimiser steps of the main model.
    steps: int
    #: Threads torch may use; another number may round sums differently.
    threads: int
    #: The user's own data, for the models that take any; None: what the model ships with.
    data: Path | None = None
    #: Go on from the checkpoint in `out`.
    resume: bool = False
    #: Steps between two checkpoints; None: the model's own.
    every: int | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """One training run, after it ended; kept as ``training.json``."""

    #: Name of the model in the zoo.
    name: str
    #: As in the plan.
    seed: int
    #: As in the plan.
    steps: int
    #: As in the plan.
    threads: int
    #: Wall time of the whole run.
    seconds: float
    #: Processor time of the whole run, over all threads; other work on the machine adds little.
    cpu_seconds: float
    #: Trained numbers in all parts together.
    parameters: int
    #: Release of torch that trained it.
    torch: str
    #: What it learnt from, where that is the user's own.
    data: str = ""


class Average:
    """Exponential moving average of a module's weights; steadier than the last step's."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self._decay = decay
        #: How many there were; a resumed training sets it.
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self._decay, self.updates / (self.updates + 10))
        for mean, value in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


@contextmanager
def recorded(name: str, plan: Plan, data: str = "") -> Iterator[list[nn.Module]]:
    """Seed, run and time the block, then write its record.

    The block appends the modules it trained to the list it is given.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    plan.out.mkdir(parents=True, exist_ok=True)
    modules: list[nn.Module] = []
    started, started_cpu = time.monotonic(), time.process_time()
    yield modules
    training = Training(
        name=name,
        seed=plan.seed,
        steps=plan.steps,
        threads=plan.threads,
        seconds=round(time.monotonic() - started, 1),
        cpu_seconds=round(time.process_time() - started_cpu, 1),
        parameters=sum(p.numel() for module in modules for p in module.parameters()),
        torch=torch.__version__,
        data=data,
    )
    (plan.out / RECORD).write_text(json.dumps(asdict(training), indent=2) + "\n")


def read_training(directory: Path) -> Training:
    return Training(**json.loads((directory / RECORD).read_text()))


def descend(
    label: str, losses: Iterator[torch.Tensor], module: nn.Module, *, steps: int, peak: float
) -> Iterator[int]:
    """Take ``steps`` AdamW steps down the losses, yielding after each; tqdm on stderr.

    Learning rate: linear warm-up over a twentieth of the steps to ``peak``, then a cosine to zero.
    """
    warm = max(1, steps // 20)
    optimiser = torch.optim.AdamW(module.parameters(), lr=peak, betas=(0.9, 0.98))
    with tqdm(total=steps, desc=label, mininterval=1.0) as bar:
        for step in range(steps):
            cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
            optimiser.param_groups[0]["lr"] = peak * min((step + 1) / warm, 1.0) * cosine
            loss = next(losses)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            bar.set_postfix_str(f"loss {loss.item():.4f}", refresh=False)
            bar.update()
            yield step
