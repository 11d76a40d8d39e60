"""The speech engine: texts spoken by VITS (Kim et al. 2021, arXiv 2106.06103).

Row by row: in a padded batch what lies behind a text's end reaches into its
sound (of four texts with the starter model, without any noise, by up to 0.06 of
full loudness), so that a row's bytes would depend on its mates. It costs 1.5
times the processor time of the batch. Knows no task but its parameters.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Sound
from genfarm_workers.engines.batch import Row
from genfarm_workers.engines.sounds import SoundEngine, load_sounding, to_sound, unused

#: Tokens of the longest text, where the registry names no other `tokens`: a minute or so of
#: speech. Attention and sound both grow with it; not measured on a GPU.
_MOST_TOKENS = 2_048


class SpeechEngine(SoundEngine):
    """`slots` is how many rows it takes in at once; it speaks one after the other."""

    fills_up = False

    def load(self) -> None:
        from transformers import VitsModel

        self.model, self._tokenizer = load_sounding(self.entry, self.device, VitsModel, "VITS")

    def refusal(self, claim: Claim) -> Failure | None:
        fault = unused(
            claim,
            {
                "seconds": "speech is as long as its text (see speaking_rate)",
                "guidance_scale": "it speaks what the text says",
            },
        )
        fault = fault or self._voice_fault(claim) or self._text_fault(claim)
        return Failure("invalid_params", fault) if fault else None

    def _voice_fault(self, claim: Claim) -> str | None:
        voices = self.model.config.num_speakers
        if claim.params["voice"] < voices:
            return None
        known = "one voice, 0" if voices == 1 else f"{voices} voices, 0 to {voices - 1}"
        return (
            f"voice={claim.params['voice']}: model {self.entry.key!r} has {known}. Choose another"
        )

    def _text_fault(self, claim: Claim) -> str | None:
        count, most = self._encode(claim).shape[1], self.entry.limits.get("tokens", _MOST_TOKENS)
        if count > most:
            return (
                f"prompt: its {count} tokens are more than the {most} that model "
                f"{self.entry.key!r} speaks at once. Cut it into sentences"
            )
        if not self._is_audible(claim):
            return (
                f"prompt: it holds no character that model {self.entry.key!r} can speak. "
                "Write it in the letters of the model's language"
            )
        return None

    def _is_audible(self, claim: Claim) -> bool:
        text, _ = self._tokenizer.prepare_for_tokenization(claim.params["prompt"])
        return any(letter in self._tokenizer.encoder for letter in text.strip())

    def _encode(self, claim: Claim) -> torch.Tensor:
        ids: torch.Tensor = self._tokenizer(claim.params["prompt"], return_tensors="pt").input_ids
        return ids

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Sequence[Sound]:
        sounds = []
        for row in rows:
            sounds.append(self._speak(row) if self.is_wanted(row) else Sound(1, 1, b""))
            self.tick()
        return sounds

    def _speak(self, row: Row) -> Sound:
        params, config = row.claim.params, self.model.config
        self._spread(params["temperature"])
        with SeededNoise(row.seed):
            spoken = self.model(
                self._encode(row.claim).to(self.device),
                speaker_id=params["voice"] if config.num_speakers > 1 else None,
                speaking_rate=config.speaking_rate * params["speaking_rate"],
            )
        return to_sound(spoken.waveform, config.sampling_rate, params["format"])

    def _spread(self, temperature: float | None) -> None:
        """How far sounds and their lengths scatter; both change by one factor, where there is."""
        config = self.model.config
        own = config.noise_scale
        factor = temperature / own if temperature is not None and own else 1.0
        self.model.noise_scale = own if temperature is None else temperature
        self.model.noise_scale_duration = config.noise_scale_duration * factor


class SeededNoise(TorchFunctionMode):
    """While it lasts, normal numbers come from a generator of their own, drawn on the CPU.

    VITS takes its noise from torch's one global generator and has no parameter for another.
    Drawn on the CPU, they are the same on every device.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.randn_like:
            return self._draw(args[0].shape).to(args[0])
        if func is torch.randn:
            placed = {name: kwargs[name] for name in ("device", "dtype") if name in kwargs}
            shape = args[0] if len(args) == 1 and not isinstance(args[0], int) else args
            return self._draw(shape).to(**placed) if placed else self._draw(shape)
        return func(*args, **kwargs)

    def _draw(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=self._generator)
