"""The small networks that draw: an MLP and a DCGAN generator, and a VAE; built, kept and loaded.

Both the engines and the trainers of the zoo build them here. Shapes: points of the latent space
are (N, latent), classes (N, labels) as shares that sum to 1, pictures (N, channels, size, size)
from -1 to 1. Knows no task and no training.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Design:
    """What a generator is made like; kept as `config.json` beside its weights."""

    #: `gan`, `dcgan` or `vae`.
    type: str
    #: Edge of a picture in pixels: 28, or 32 for a DCGAN.
    size: int
    #: 1 for grey, 3 for colours.
    channels: int
    #: Numbers of a point of the latent space.
    latent: int
    #: Names of the classes; none for a model that knows none.
    labels: Sequence[str] = ()
    #: Tone of the paper in most pictures, from -1 to 1; None where pictures have none. By it a
    #: picture of the other polarity is known.
    paper: float | None = None


class Generator(nn.Module, ABC):
    """Draws pictures from points of a latent space."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design

    #: Whether a point says its class, so that `decode` asks for none.
    points_say_class = False

    def place(self, noise: Tensor, classes: Tensor) -> Tensor:
        """The points that normal noise (N, latent) stands for among those of the classes."""
        return noise

    @abstractmethod
    def decode(self, points: Tensor, classes: Tensor) -> Tensor:
        """Pictures of those points."""

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        return self.decode(self.place(noise, classes), classes)


class MlpGenerator(Generator):
    """Fully connected, as in the first GANs (arXiv 1406.2661)."""

    def __init__(self, design: Design, width: int = 256) -> None:
        super().__init__(design)
        pixels = design.channels * design.size**2
        self.layers = nn.Sequential(
            *_linear(design.latent + len(design.labels), width),
            *_linear(width, 2 * width),
            nn.Linear(2 * width, pixels),
            nn.Tanh(),
        )

    def decode(self, points: Tensor, classes: Tensor) -> Tensor:
        pixels: Tensor = self.layers(torch.cat([points, classes], dim=1))
        return pixels.view(-1, self.design.channels, self.design.size, self.design.size)


class DcganGenerator(Generator):
    """Transposed convolutions with batch norm (arXiv 1511.06434), from 4x4 up to 32x32."""

    def __init__(self, design: Design, width: int = 16) -> None:
        super().__init__(design)
        inputs = design.latent + len(design.labels)
        self.layers = nn.Sequential(
            *_grow(inputs, 4 * width, stride=1, padding=0),
            *_grow(4 * width, 2 * width),
            *_grow(2 * width, width),
            nn.ConvTranspose2d(width, design.channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def decode(self, points: Tensor, classes: Tensor) -> Tensor:
        pictures: Tensor = self.layers(torch.cat([points, classes], dim=1)[:, :, None, None])
        return pictures


class Vae(Generator):
    """A convolutional VAE (arXiv 1312.6114) whose classes lie at places of their own.

    The prior of a class is a normal distribution around a learnt mean, so that neither encoder
    nor decoder asks for the class: a point says it. Samples are drawn from where the pictures of
    a class came to lie (arXiv 1903.12436), which the prior only nears.
    """

    points_say_class = True

    def __init__(self, design: Design, width: int = 16) -> None:
        super().__init__(design)
        side = design.size // 4
        self.means = nn.Parameter(torch.randn(len(design.labels), design.latent))
        #: Where samples of each class lie, one row where there are no classes: their mean, and
        #: what turns normal noise into their spread.
        kinds = max(1, len(design.labels))
        self.centres: Tensor
        self.spreads: Tensor
        self.register_buffer("centres", torch.zeros(kinds, design.latent))
        self.register_buffer("spreads", torch.eye(design.latent).repeat(kinds, 1, 1))
        self.encoder = nn.Sequential(
            *_shrink(design.channels, width),
            *_shrink(width, 2 * width),
            nn.Flatten(),
            *_linear(2 * width * side**2, 8 * width),
            nn.Linear(8 * width, 2 * design.latent),
        )
        self.decoder = nn.Sequential(
            *_linear(design.latent, 8 * width),
            *_linear(8 * width, 2 * width * side**2),
            nn.Unflatten(1, (2 * width, side, side)),
            *_grow(2 * width, width),
            nn.ConvTranspose2d(width, design.channels, 4, stride=2, padding=1),
        )

    def place(self, noise: Tensor, classes: Tensor) -> Tensor:
        shares = classes if self.design.labels else noise.new_ones(len(noise), 1)
        spread = torch.einsum("nk,kij,nj->ni", shares, self.spreads, noise)
        return shares @ self.centres + spread

    def decode(self, points: Tensor, classes: Tensor) -> Tensor:
        tones: Tensor = self.decoder(points)
        return tones.tanh()

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of each picture's latent, both (N, latent)."""
        mean, spread = self.encoder(pictures).chunk(2, dim=1)
        return mean, spread


TYPES: dict[str, type[Generator]] = {"gan": MlpGenerator, "dcgan": DcganGenerator, "vae": Vae}
#: Pixels of an edge and numbers of a point, by type.
SIZES = {"gan": 28, "dcgan": 32, "vae": 28}
LATENTS = {"gan": 64, "dcgan": 64, "vae": 16}


def build_generator(design: Design) -> Generator:
    """With fresh weights. Raises ValueError for a design that there is not."""
    _check_design(design)
    return TYPES[design.type](design)


def keep_generator(generator: Generator, folder: Path) -> None:
    """Write weights, in half precision, and design."""
    weights = {name: _halved(value) for name, value in generator.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(generator.design), indent=2) + "\n")


def read_design(folder: Path) -> Design:
    """Raises ValueError or OSError."""
    try:
        design = Design(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except TypeError as error:
        raise ValueError(f"{folder / CONFIG} describes no generator ({error})") from error
    _check_design(design)
    return design


def load_generator(folder: Path) -> Generator:
    """What `keep_generator` wrote, ready to draw. Raises ValueError or OSError."""
    generator = build_generator(read_design(folder))
    try:
        generator.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG}: {error}") from error
    return generator.eval().requires_grad_(False)


def one_hot(labels: Tensor, design: Design) -> Tensor:
    """Numbers of classes (N,) as (N, labels)."""
    classes = torch.zeros(len(labels), len(design.labels))
    return classes.scatter_(1, labels[:, None], 1.0) if design.labels else classes


def _check_design(design: Design) -> None:
    if design.type not in TYPES or design.size != SIZES[design.type]:
        known = ", ".join(f"{name} of {SIZES[name]} pixels" for name in TYPES)
        raise ValueError(f"no {design.type} of {design.size} pixels; expected one of {known}")


def _halved(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


def _linear(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2)


def _grow(inputs: int, outputs: int, *, stride: int = 2, padding: int = 1) -> tuple[nn.Module, ...]:
    larger = nn.ConvTranspose2d(inputs, outputs, 4, stride=stride, padding=padding, bias=False)
    return larger, nn.BatchNorm2d(outputs), nn.ReLU()


def _shrink(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    smaller = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return smaller, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)
