"""The room of the speaker: a small VITS built in place, not trained, and what its card says.

To train a VITS takes hours of recorded speech and days of a GPU, which this project has not.
What it gives is the whole path of speech, from a text to a sound file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.training import Plan, recorded

#: No step is taken, however many are asked for.
DEFAULT_STEPS = 1

#: What it reads; the first is the blank between two letters.
_LETTERS = "_ abcdefghijklmnopqrstuvwxyz0123456789'-"
_VOICES = 2
#: Makes the noise bearable; chosen by its loudness.
_SOFT = 0.02
_TEXTS = ("hello world", "the quick brown fox jumps over the lazy dog", "one two three four five")

PROSE = Prose(
    tag="text-to-audio",
    library="transformers",
    what="A small VITS with **random weights**: it shows the path of speech through the farm, and "
    "what is heard is **noise, not speech**. Its shape, tokenizer, two voices, speaking rate and "
    "seeds work as those of a trained one such as `facebook/mms-tts-eng`.",
    use="from transformers import AutoTokenizer, VitsModel\n\n"
    "model = VitsModel.from_pretrained(DIRECTORY)\n"
    'text = AutoTokenizer.from_pretrained(DIRECTORY)("hello", return_tensors="pt")\n'
    "wave = model(**text, speaker_id=0).waveform",
    data="None: the weights are drawn from the seed.",
    measured="Three texts are spoken, each twice from one seed.",
    limits="It cannot speak. For speech name a trained VITS in the registry.",
)


@dataclass(frozen=True, slots=True)
class SpeechMetrics:
    """That it makes sounds, and the same ones again; nothing of how they sound."""

    #: Seconds of sound per letter.
    seconds_per_letter: float
    #: Loudness, root of the mean square; 1 is the loudest there is.
    loudness: float
    #: Share of the texts whose sound was the same to the bit when it was made again.
    repeated: float


def train(plan: Plan) -> None:
    """Draw the weights from the seed."""
    with recorded("speech", plan) as modules:
        _save_tokenizer(plan.out)
        model = build_speaker()
        modules.append(model)
        # Halves: they are loaded in the precision that the registry names.
        model.to(torch.float16).save_pretrained(plan.out)


def measure(directory: Path) -> SpeechMetrics:
    from transformers import AutoTokenizer, VitsModel

    model = VitsModel.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    first, second = ([_speak(model, tokenizer, text) for text in _TEXTS] for _ in range(2))
    wave = torch.cat(first)
    return SpeechMetrics(
        seconds_per_letter=len(wave) / model.config.sampling_rate / sum(map(len, _TEXTS)),
        loudness=float(wave.square().mean().sqrt()),
        repeated=_share([torch.equal(a, b) for a, b in zip(first, second, strict=True)]),
    )


def build_speaker() -> Any:
    """VitsModel: token ids (1, T) to a wave of 16,000 samples a second."""
    from transformers import VitsConfig, VitsModel

    config = VitsConfig(
        vocab_size=len(_LETTERS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=64,
        flow_size=32,
        spectrogram_bins=65,
        num_speakers=_VOICES,
        speaker_embedding_size=16,
        upsample_initial_channel=64,
        upsample_rates=(8, 8, 2, 2),
        upsample_kernel_sizes=(16, 16, 4, 4),
        resblock_kernel_sizes=(3, 5),
        resblock_dilation_sizes=((1, 3), (1, 3)),
        duration_predictor_filter_channels=32,
        duration_predictor_num_flows=2,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=1,
    )
    model = VitsModel(config).eval()
    # Else every sample is as loud as can be.
    model.decoder.conv_post.weight.data.mul_(_SOFT)
    return model


def _save_tokenizer(directory: Path) -> None:
    import json

    from transformers import VitsTokenizer

    vocabulary = directory / "vocab.json"
    vocabulary.write_text(json.dumps({letter: place for place, letter in enumerate(_LETTERS)}))
    special = {"pad_token": _LETTERS[0], "unk_token": _LETTERS[1]}
    tokenizer = VitsTokenizer(str(vocabulary), phonemize=False, normalize=True, **special)
    tokenizer.save_pretrained(directory)


@torch.inference_mode()
def _speak(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    torch.manual_seed(0)
    wave: torch.Tensor = model(**tokenizer(text, return_tensors="pt"), speaker_id=0).waveform[0]
    return wave


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)
