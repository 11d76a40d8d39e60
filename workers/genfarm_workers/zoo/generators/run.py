"""Runs the training of a generator: progress, checkpoints, sheets, and what is left at its end.

It knows no loss. Beside the weights lie `samples.png` and `losses.png`, in `sheets/` the samples
of each checkpoint; the checkpoint itself goes when the training has ended.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from tqdm import tqdm

from genfarm_workers.engines.generators import (
    LATENTS,
    SIZES,
    Design,
    Generator,
    Vae,
    keep_generator,
    load_generator,
)
from genfarm_workers.zoo.generators import checkpoint, sheets
from genfarm_workers.zoo.generators.pictures import Pictures, as_tones, digit_pictures
from genfarm_workers.zoo.generators.sources import find_pictures
from genfarm_workers.zoo.generators.vae import locate
from genfarm_workers.zoo.training import Plan, recorded

#: Checkpoints of a whole training; each costs about as much as ten steps.
CHECKPOINTS = 8
#: Pictures at most on the map of a latent space.
_MAPPED = 2000


class Lesson(checkpoint.Lesson, Protocol):
    """How one type of generator learns."""

    def advance(self, step: int) -> Mapping[str, float]:
        """Take that step, from 0; returns its losses by name."""

    def sketch(self) -> Generator:
        """The generator as it is to be kept; changes nothing of the lesson's course."""


Begin = Callable[[Design, Pictures, int, torch.Generator], Lesson]


def train_generator(name: str, plan: Plan, begin: Begin) -> None:
    """Train the generator of that type. Raises InvalidSetting for data that will not do."""
    pictures = find_pictures(plan.data, SIZES[name])
    design = _design(name, pictures)
    with recorded(name, plan, pictures.told if plan.data else "") as modules:
        chance = torch.Generator().manual_seed(plan.seed)
        lesson = begin(design, pictures, plan.steps, chance)
        course = checkpoint.Course(name, plan.seed, plan.steps, plan.threads, pictures.digest())
        progress = checkpoint.Progress(0, [], ())
        if plan.resume:
            progress = checkpoint.resume_checkpoint(plan.out, lesson, chance, course)
        _go_on(lesson, plan, chance, course, progress)
        generator = lesson.sketch()
        modules.append(generator)
        generator = _kept(generator, pictures, plan.out)
        sheets.draw_sheet(generator, plan.out / "samples.png")
        sheets.draw_losses(progress.losses, progress.curves, plan.out / "losses.png")
        if isinstance(generator, Vae):
            draw_latents(generator, pictures, plan.out / "latents.png")
    (plan.out / checkpoint.NAME).unlink(missing_ok=True)


def _kept(generator: Generator, pictures: Pictures, folder: Path) -> Generator:
    """The generator as it is read back from where it is kept, rounded to half precision."""
    keep_generator(generator, folder)
    generator = load_generator(folder)
    if isinstance(generator, Vae):
        locate(generator, pictures)
        keep_generator(generator, folder)
    return load_generator(folder)


def illustrate_digits(directory: Path) -> None:
    """Draw `latents.png` of a VAE of digits anew."""
    vae = load_generator(directory)
    digits = digit_pictures(vae.design.size)
    if isinstance(vae, Vae) and list(vae.design.labels) == list(digits.names):
        draw_latents(vae, digits, directory / "latents.png")


@torch.no_grad()
def draw_latents(vae: Vae, pictures: Pictures, path: Path) -> float:
    """The map of where the pictures lie; returns the share of their variance it shows."""
    some = pictures.some(_MAPPED)
    parts = torch.split(as_tones(pictures.pixels[some]), 256)
    points = torch.cat([vae.encode(part)[0] for part in parts])
    return sheets.draw_map(points, pictures.labels[some], pictures.names, path)


def _go_on(
    lesson: Lesson,
    plan: Plan,
    chance: torch.Generator,
    course: checkpoint.Course,
    progress: checkpoint.Progress,
) -> None:
    every = plan.every or max(1, -(-plan.steps // CHECKPOINTS))
    with tqdm(total=plan.steps, initial=progress.step, desc=course.name, mininterval=1.0) as bar:
        while progress.step < plan.steps:
            losses = lesson.advance(progress.step)
            progress.step += 1
            progress.curves = tuple(losses)
            progress.losses.append(list(losses.values()))
            bar.set_postfix_str(", ".join(f"{k} {v:.3f}" for k, v in losses.items()), refresh=False)
            bar.update()
            if progress.step % every == 0 and progress.step < plan.steps:
                checkpoint.save_checkpoint(plan.out, lesson, chance, course, progress)
                sheet = plan.out / "sheets" / f"samples-{progress.step:06d}.png"
                sheet.parent.mkdir(exist_ok=True)
                sheets.draw_sheet(lesson.sketch(), sheet)


def _design(name: str, pictures: Pictures) -> Design:
    channels = pictures.pixels.shape[1]
    labels = tuple(pictures.names)
    return Design(name, SIZES[name], channels, LATENTS[name], labels, pictures.paper())
