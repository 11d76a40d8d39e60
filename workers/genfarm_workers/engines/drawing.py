"""A generator as one device call: the loaded one, or a file that was exported from it.

A file holds what places noise among the pictures of a class, too. Knows no task.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.exported import open_exported
from genfarm_workers.engines.generators import TYPES, Design, Generator, load_generator, read_design
from genfarm_workers.engines.portable import Forward, is_export, read_record
from genfarm_workers.engines.weights import choose_dtype, find_weights


@dataclass(frozen=True, slots=True, eq=False)
class Drawer:
    """Ready to draw."""

    design: Design
    dtype: torch.dtype
    #: Of the tensors that `chosen` names, by position, to pictures from -1 to 1.
    forward: Forward

    @property
    def points_say_class(self) -> bool:
        return TYPES[self.design.type].points_say_class

    def chosen(self, noise: Tensor, classes: Tensor, placed: Tensor) -> dict[str, Tensor]:
        """Those inputs that this type of generator reads: a file holds no others.

        `placed` (B, 1) says of which rows the noise is a point of the latent space already.
        """
        inputs = {"noise": noise}
        if self.design.labels:
            inputs["classes"] = classes
        if self.points_say_class:
            inputs["placed"] = placed
        return inputs

    def draw(self, noise: Tensor, classes: Tensor, placed: Tensor) -> Tensor:
        return self.forward(*self.chosen(noise, classes, placed).values())


class Drawing(nn.Module):
    """What `Drawer.forward` is of a loaded generator."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, noise: Tensor, *others: Tensor) -> Tensor:
        generator = self.generator
        classes = others[0] if generator.design.labels else noise.new_zeros(len(noise), 0)
        points = generator.place(noise, classes)
        if generator.points_say_class:
            points = torch.where(others[-1], noise, points)
        return generator.decode(points, classes)


def load_drawer(entry: ModelEntry, device: str) -> Drawer:
    """Of an entry's generator or export. Raises ModelUnavailable."""
    folder = find_weights(entry)
    if is_export(folder):
        return _exported(entry, folder, device)
    generator = fetch_generator(entry, device)
    return Drawer(generator.design, choose_dtype(entry, device), Drawing(generator))


def fetch_generator(entry: ModelEntry, device: str) -> Generator:
    """The generator of an entry, on that device. Raises ModelUnavailable."""
    folder = find_weights(entry)
    try:
        generator = load_generator(folder)
    except (OSError, ValueError) as error:
        raise _no_generator(entry, folder, error) from error
    return generator.to(device, choose_dtype(entry, device))


def _exported(entry: ModelEntry, folder: Path, device: str) -> Drawer:
    forward = open_exported(entry, folder, device)
    dtype: torch.dtype = getattr(torch, read_record(entry.key, folder).inputs[0]["dtype"])
    try:
        return Drawer(read_design(folder), dtype, forward)
    except (OSError, ValueError) as error:
        raise _no_generator(entry, folder, error) from error


def _no_generator(entry: ModelEntry, folder: Path, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        f"model {entry.key!r}: {folder} holds no generator ({error}). Expected what "
        "'genfarm models train gan', 'dcgan' or 'vae' writes; correct source in models.toml"
    )
