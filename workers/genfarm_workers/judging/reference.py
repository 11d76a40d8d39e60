"""The real pictures or texts that generated ones are held against."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from genfarm_shared.errors import InvalidTask
from genfarm_workers.engines.opening import Unseeable, open_bytes

#: The reference that ships: held-out digits painted as the starter models paint theirs.
DIGITS = "digits"
#: Endings of picture files that are looked for in a folder.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
#: Fewer real pictures tell nothing: neighbours are looked for among them.
FEWEST = 8


@dataclass(frozen=True, slots=True)
class RealPictures:
    """Two sets that share no picture."""

    #: What generated pictures are held against.
    reference: Sequence[Image.Image]
    #: Others, which show what the figures are where everything is real.
    others: Sequence[Image.Image]
    #: What they are, for people.
    said: str


def read_pictures(against: str, n: int) -> RealPictures:
    """The real pictures of that name or folder, and up to `n` others. Raises InvalidTask."""
    if against == DIGITS:
        return _real_digits(n)
    folder = Path(against)
    if not folder.is_dir():
        raise InvalidTask(f"--against {against}: expected {DIGITS!r} or a folder of real pictures")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    if len(files) < FEWEST:
        raise InvalidTask(
            f"--against {against}: holds {len(files)} pictures ({', '.join(SUFFIXES)}); expected "
            f"{FEWEST} at least"
        )
    random.Random(0).shuffle(files)  # noqa: S311  # two sets, not a secret
    images = [open_file(file) for file in files]
    cut = min(n, len(images) // 2)
    said = f"{len(images) - cut} pictures of {folder.name}, real against real with {cut} others"
    return RealPictures(images[cut:], images[:cut], said)


def read_lines(against: str) -> list[str]:
    """The texts of a file, one a line. Raises InvalidTask."""
    file = Path(against)
    if not file.is_file():
        raise InvalidTask(f"--against {against}: for texts expected a file with a text a line")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise InvalidTask(f"--against {against}: the file holds no text")
    return lines


def _real_digits(n: int) -> RealPictures:
    from genfarm_workers.zoo.digits.data import real_digits, training_digits_like
    from genfarm_workers.zoo.judge_train import as_images

    reference = real_digits(held_out=True)
    others = training_digits_like(reference.labels, n).ink
    said = (
        f"{len(reference.ink)} real digits that no model was trained on, about as many of each; "
        f"real against real with {len(others)} others in the same mix"
    )
    return RealPictures(as_images(reference.ink), as_images(others), said)


def open_file(file: Path) -> Image.Image:
    """As RGB, the way the engines open what comes with a task. Raises InvalidTask."""
    try:
        return open_bytes(file.read_bytes())
    except (OSError, Unseeable) as error:
        raise InvalidTask(f"{file} cannot be read as a picture ({error})") from error
