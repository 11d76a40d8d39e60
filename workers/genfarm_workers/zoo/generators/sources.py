"""Finds a user's training pictures: a folder of pictures, or MNIST-format files.

In a folder, each folder below it is a class of its name; without any, the model
learns no classes. Everything is brought to one size and to grey or colours.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from genfarm_shared.errors import InvalidSetting
from genfarm_workers.engines.opening import Unseeable, open_bytes
from genfarm_workers.engines.sight import fit
from genfarm_workers.zoo.generators.idx import is_idx, read_pair
from genfarm_workers.zoo.generators.pictures import Pictures, digit_pictures

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
#: Fewer pictures teach nothing; a batch holds 64.
FEWEST = 16
#: More classes than that are hardly classes; a folder of folders by user, say.
_MOST_CLASSES = 1000
_CHUNK = 4096


def find_pictures(data: Path | None, size: int) -> Pictures:
    """Those of a folder or a file; scikit-learn's digits for None. Raises InvalidSetting."""
    if data is None:
        return digit_pictures(size)
    if data.is_dir():
        idx = sorted(path for path in data.iterdir() if path.is_file() and is_idx(path))
        pictures = [path for path in idx if "images" in path.name or "idx3" in path.name]
        return (
            _from_idx(_train_part(data, pictures), size) if pictures else _from_folder(data, size)
        )
    if not data.exists():
        raise InvalidSetting(
            f"{data} does not exist; expected a folder of pictures or an MNIST-format file "
            "(train-images-idx3-ubyte, also .gz). Correct --data"
        )
    return _from_idx(data, size)


def _train_part(folder: Path, files: Sequence[Path]) -> Path:
    """Of MNIST's four files the training pictures; any other choice is the user's."""
    chosen = [path for path in files if "train" in path.name] or list(files)
    if len({path.name.removesuffix(".gz") for path in chosen}) > 1:
        names = ", ".join(path.name for path in chosen)
        raise InvalidSetting(f"{folder} holds several files of pictures ({names}); name one")
    return chosen[0]


def _from_idx(path: Path, size: int) -> Pictures:
    pixels, labels, beside = read_pair(path)
    resized = torch.cat([_resized(part, size) for part in torch.split(pixels, _CHUNK)])
    told = f"{len(pixels):,} pictures of {path.name}" + (f" with {beside}" if beside else "")
    _check_number(len(pixels), path)
    if labels is None:
        return Pictures(resized, torch.zeros(len(pixels), dtype=torch.int64), (), told)
    names = [str(name) for name in range(int(labels.max()) + 1)]
    return Pictures(resized, labels, names, told)


def _resized(pixels: Tensor, size: int) -> Tensor:
    """(N, H, W) to (N, 1, size, size)."""
    if pixels.shape[1:] == (size, size):
        return pixels[:, None]
    tones = functional.interpolate(
        pixels[:, None].float(), (size, size), mode="bilinear", antialias=True
    )
    return tones.round().clamp(0, 255).to(torch.uint8)


def _from_folder(folder: Path, size: int) -> Pictures:
    classes = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    found = {path.name: _files(path, deep=True) for path in classes}
    flat = _files(folder, deep=False)
    if not flat and not any(found.values()):
        raise InvalidSetting(
            f"{folder} holds no pictures; expected {', '.join(sorted(SUFFIXES))} files, in a "
            "folder for each class or all in one. Correct --data"
        )
    if flat and any(found.values()):
        raise InvalidSetting(
            f"{folder} holds pictures ({flat[0].name}) and folders of pictures beside them; "
            "expected all in folders, one for each class, or none"
        )
    empty = [name for name, files in found.items() if not files and not flat]
    if empty or len(found) > _MOST_CLASSES:
        fault = f"{empty[0]} has no pictures" if empty else f"there are {len(found):,} of them"
        raise InvalidSetting(
            f"{folder}: each folder is a class, but {fault}; expected 1 to {_MOST_CLASSES:,} "
            "folders with pictures in each. Move it elsewhere"
        )
    names = () if flat else tuple(found)
    files = flat or [file for name in names for file in found[name]]
    _check_number(len(files), folder)
    labels = [place for place, name in enumerate(names) for _ in found[name]]
    told = f"{len(files):,} pictures of the folder {folder.name}"
    pixels = _opened(files, size)
    return Pictures(pixels, torch.tensor(labels or [0] * len(files)), names, told)


def _files(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())


def _opened(files: Sequence[Path], size: int) -> Tensor:
    """(N, 3, size, size), or (N, 1, size, size) when none has a colour."""
    from tqdm import tqdm

    pictures = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    for place, file in enumerate(tqdm(files, desc="pictures", mininterval=1.0)):
        try:
            pictures[place] = fit(open_bytes(file.read_bytes()), size, 3)
        except Unseeable as error:
            raise InvalidSetting(
                f"{file}: {error}; expected a picture. Mend the file or take it away"
            ) from error
    is_grey = bool((pictures == pictures[:, :1]).all())
    return pictures[:, :1].contiguous() if is_grey else pictures


def _check_number(count: int, data: Path) -> None:
    if count < FEWEST:
        raise InvalidSetting(
            f"{data} holds {count} pictures; expected at least {FEWEST}, and hundreds for "
            "anything to look at. Add some or name another with --data"
        )
