"""Where an unfinished training stands, in one file from which it goes on as if never broken.

A safetensors file: weights, the optimisers' moments, the state of the random numbers and the
losses so far as tensors, the rest as its metadata. Nothing in it can run code.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from genfarm_shared.errors import InvalidSetting

NAME = "checkpoint.safetensors"


class Lesson(Protocol):
    """What a checkpoint holds of a training."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """By name, all that learns or averages."""

    @property
    def optimisers(self) -> Mapping[str, Optimizer]:
        """By name."""

    def skip(self, steps: int) -> None:
        """Told of the steps that are done, once modules and optimisers are as those left them."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a training must have in common with a checkpoint to go on from it."""

    name: str
    seed: int
    steps: int
    threads: int
    #: Digest of the pictures.
    data: str


@dataclass(slots=True)
class Progress:
    """How far a training is."""

    #: Steps that are done.
    step: int
    #: Of each step, in the order of `curves`.
    losses: list[list[float]]
    #: Names of the losses.
    curves: Sequence[str]


def save_checkpoint(
    folder: Path, lesson: Lesson, chance: torch.Generator, course: Course, progress: Progress
) -> None:
    """Write it beside the weights; the last one stays whole until this one is."""
    tensors = {
        f"modules.{part}.{name}": value
        for part, module in lesson.modules.items()
        for name, value in module.state_dict().items()
    }
    for part, optimiser in lesson.optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimisers.{part}.{index}.{k}": v for k, v in moments.items()}
    tensors["chance"] = chance.get_state()
    tensors["losses"] = torch.tensor(progress.losses, dtype=torch.float64)
    told = {"course": json.dumps(asdict(course)), "curves": json.dumps(list(progress.curves))}
    unfinished = folder / f".{NAME}"
    save_file({k: v.contiguous() for k, v in tensors.items()}, unfinished, metadata=told)
    unfinished.replace(folder / NAME)


def resume_checkpoint(
    folder: Path, lesson: Lesson, chance: torch.Generator, course: Course
) -> Progress:
    """Bring the lesson to where it stood. Raises InvalidSetting where that cannot be."""
    tensors, told = _read(folder / NAME)
    try:
        _check_course(folder / NAME, Course(**json.loads(told["course"])), course)
        return _restore(tensors, told, lesson, chance)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InvalidSetting(
            f"{folder / NAME} is no checkpoint of this release ({error}). Delete it and train "
            "without --resume"
        ) from error


def _restore(
    tensors: Mapping[str, Tensor],
    told: Mapping[str, Any],
    lesson: Lesson,
    chance: torch.Generator,
) -> Progress:
    for part, module in lesson.modules.items():
        module.load_state_dict(_below(tensors, f"modules.{part}."))
    for part, optimiser in lesson.optimisers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimisers.{part}.").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    chance.set_state(tensors["chance"])
    losses = tensors["losses"].tolist()
    lesson.skip(len(losses))
    return Progress(len(losses), losses, json.loads(told["curves"]))


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    if not path.is_file():
        raise InvalidSetting(
            f"{path.parent} holds no {path.name} to resume: no training there was broken off. "
            "Leave --resume away to begin one, or correct --out"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InvalidSetting(
            f"{path} cannot be read ({error}). Delete it and train without --resume"
        ) from error


def _check_course(path: Path, found: Course, course: Course) -> None:
    for name, expected in asdict(found).items():
        given = asdict(course)[name]
        if given != expected:
            hint = "other pictures" if name == "data" else f"{name} {expected}, not {given}"
            raise InvalidSetting(
                f"{path} is of a training with {hint}; it can only go on with the same. Give "
                "those again, or leave --resume away to begin anew"
            )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = len(prefix)
    return {name[start:]: value for name, value in tensors.items() if name.startswith(prefix)}
