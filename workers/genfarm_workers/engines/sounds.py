"""What the engines of sound share: loading, samples on their way out, a task's output.

Knows no model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output, Sound
from genfarm_workers.engines.batch import BatchEngine
from genfarm_workers.engines.loading import load_whole
from genfarm_workers.engines.noise import derive_seed
from genfarm_workers.engines.weights import choose_dtype, find_weights, quiet_libraries

#: The loudest 16-bit sample.
_LOUDEST = 32_767


class SoundEngine(BatchEngine[Sound]):
    """Rows become sounds. Subclasses load, check and run."""

    model: Any

    def modules(self) -> list[Any]:
        return [self.model]

    def finish(self, claim: Claim, pieces: Sequence[Sound]) -> Output:
        output = {
            "sounds": len(pieces),
            "rate": pieces[0].rate,
            "seconds": [round(seconds_of(piece), 3) for piece in pieces],
            "seeds": [derive_seed(claim.seed, k) for k in range(len(pieces))],
        }
        return Output(claim.task_id, output=output, files=pieces)


def to_sound(wave: torch.Tensor, rate: int, form: str) -> Sound:
    """(channels, samples) in -1..1 to 16 bits; what is louder is cut off."""
    wave = wave.float().nan_to_num().clamp(-1, 1)
    samples = (wave * _LOUDEST).round().to(torch.int16).T.contiguous().cpu()
    return Sound(rate, wave.shape[0], samples.numpy().astype("<i2").tobytes(), form)


def seconds_of(sound: Sound) -> float:
    return len(sound.samples) / (2 * sound.channels * sound.rate)


def unused(claim: Claim, own: Mapping[str, str]) -> str | None:
    """The reason to refuse a task that names a parameter of which its model makes no use.

    `own` says for each such parameter why.
    """
    defaults = {"voice": 0, "speaking_rate": 1.0}
    for name, reason in own.items():
        if claim.params[name] != defaults.get(name):
            return f"model {claim.model!r} takes no {name}: {reason}. Leave it out"
    return None


def load_sounding(entry: ModelEntry, device: str, model_class: Any, is_named: str) -> Any:
    """The model of that class from the entry's files, and its tokenizer.

    Raises ModelUnavailable, saying what is missing.
    """
    from transformers import AutoConfig, AutoTokenizer

    folder: Path = find_weights(entry)
    quiet_libraries()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        found, wanted = AutoConfig.from_pretrained(folder, **options), model_class.config_class
        if not isinstance(found, wanted):
            # transformers would warn, and fill such a model with random weights.
            raise ValueError(f"it is of type {found.model_type}, not {wanted.model_type}")
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = load_whole(entry.key, model_class, folder, choose_dtype(entry, device))
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is not a {is_named} model that transformers can load "
            f"({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    return model.to(device).eval(), tokenizer
