"""The judge: says which digit a picture shows, and how sure it is.

Trained on real digits only and sharing nothing with the model that draws them, so
it can measure whether a drawn picture is what was asked for. It knows neither the
training data nor the drawing model; at run time it needs torch and Pillow only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_model
from torch import Tensor, nn

from genfarm_workers import zoo

#: Edge of what the network sees, in pixels; the real digits hold 8x8.
SIGHT = 16

#: File of the weights inside the model's directory.
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge sees in one picture."""

    #: The digit, 0 to 9.
    digit: int
    #: Its probability, 0 to 1.
    confidence: float


class Judge:
    """Recognises handwritten digits, whatever the size, the ink or the polarity of the picture."""

    def __init__(self, network: nn.Sequential) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, directory: Path | None = None) -> "Judge":
        """The shipped judge, or the one trained into ``directory``."""
        network = build_network()
        load_model(network, (directory or zoo.path("judge")) / WEIGHTS)
        return cls(network)

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """Features of the layer before the last (N, 64), and probabilities (N, 10)."""
        features = self._network[:-1](_look(images))
        return features, self._network[-1](features).softmax(dim=1)

    @torch.inference_mode()
    def recognise(self, images: Sequence[Image.Image]) -> list[Verdict]:
        """One verdict per picture, in order."""
        if not images:
            return []
        confidences, digits = self._network(_look(images)).softmax(dim=1).max(dim=1)
        pairs = zip(digits.tolist(), confidences.tolist(), strict=True)
        return [Verdict(int(digit), confidence) for digit, confidence in pairs]


def build_network() -> nn.Sequential:
    """Three convolutions and two layers: ink (N, 1, 16, 16) to logits (N, 10)."""
    return nn.Sequential(
        *_convolve(1, 24, stride=1),
        *_convolve(24, 48, stride=2),
        *_convolve(48, 64, stride=2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 16, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _convolve(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def _look(images: Sequence[Image.Image]) -> Tensor:
    return torch.stack([_see(image) for image in images])


def _see(image: Image.Image) -> Tensor:
    """Ink of a picture, (1, 16, 16): its distance from the paper, stretched to reach 1.

    The paper is the median of the border, so dark on light and light on dark look the same.
    """
    grey = image.convert("L").resize((SIGHT, SIGHT), Image.Resampling.BOX)
    tones = torch.tensor(list(grey.tobytes()), dtype=torch.float32).view(SIGHT, SIGHT)
    border = torch.cat([tones[0], tones[-1], tones[:, 0], tones[:, -1]])
    ink = (tones - border.median()).abs()
    # An empty sheet stays empty: its faint noise is not stretched into strokes.
    return (ink / ink.max().clamp(min=16))[None]
