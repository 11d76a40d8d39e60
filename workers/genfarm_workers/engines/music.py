"""The music engine: MusicGen (Copet et al. 2023, arXiv 2306.05284).

Every batch has the model's number of rows and prompts of one width, and every
row's tokens are drawn with noise of its own, so that a sound's bytes depend on
its task alone. Knows rows; the sampler knows how a token is chosen.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Glimpse, Sound
from genfarm_workers.engines.batch import Row
from genfarm_workers.engines.sampler import GREEDY, Draw, Sampler
from genfarm_workers.engines.sounds import SoundEngine, load_sounding, to_sound, unused

#: Tokens that every prompt is filled up to, where the registry names no other `prompt_tokens`.
#: Attending to what is masked costs little beside the decoder.
_PROMPT_TOKENS = 64
#: Where the model says nothing: the paper's choice of tokens, and a short piece.
_TOP_K, _SECONDS = 250, 8.0
#: What a token that was not chosen scores. Finite: see `_Choice`.
_OUT = -1e4


class _AbandonedError(Exception):
    """Every row of the running batch was dropped."""


class MusicEngine(SoundEngine):
    """A batch is as long as its tasks ask for, which is the same for all of one batch key."""

    counts_calls = True

    def load(self) -> None:
        from transformers import MusicgenForConditionalGeneration

        self.model, self._tokenizer = load_sounding(
            self.entry, self.device, MusicgenForConditionalGeneration, "MusicGen"
        )
        codec = self.model.audio_encoder.config
        self._rate = codec.sampling_rate
        self._frame_rate = codec.sampling_rate / codec.hop_length
        self._codebooks = self.model.decoder.num_codebooks
        self._width = int(self.entry.limits.get("prompt_tokens", _PROMPT_TOKENS))
        self._running: list[Row] = []
        self._done = self._total = 0

    def refusal(self, claim: Claim) -> Failure | None:
        own = {"voice": "music has none", "speaking_rate": "music has none"}
        fault = unused(claim, own) or self._length_fault(claim) or self._prompt_fault(claim)
        return Failure("invalid_params", fault) if fault else None

    def _length_fault(self, claim: Claim) -> str | None:
        seconds, most = self._seconds(claim), self._most_seconds()
        if seconds <= most:
            return None
        return (
            f"seconds={seconds:g}: model {self.entry.key!r} plays at most {most:g} seconds. "
            "Ask for fewer"
        )

    def _prompt_fault(self, claim: Claim) -> str | None:
        count = len(self._tokenizer(claim.params["prompt"]).input_ids)
        if count <= self._width:
            return None
        return (
            f"prompt: its {count} tokens are more than the {self._width} that model "
            f"{self.entry.key!r} reads. Shorten it, or raise limits.prompt_tokens in models.toml"
        )

    def _most_seconds(self) -> float:
        """By the places that the decoder knows, and by the registry."""
        places = self.model.decoder.config.max_position_embeddings - self._codebooks
        own: float = math.floor(places / self._frame_rate * 10) / 10
        return min(own, float(self.entry.limits.get("most_seconds", own)))

    def _seconds(self, claim: Claim) -> float:
        asked = claim.params["seconds"]
        own = self.entry.limits.get("seconds", min(_SECONDS, self._most_seconds()))
        return float(own if asked is None else asked)

    def _chosen(self, claim: Claim, name: str, default: float) -> float:
        """The task's value, else the registry's, else the model's own."""
        own = getattr(self.model.generation_config, name, None)
        for value in (claim.params[name], self.entry.limits.get(name), own):
            if value is not None:
                return float(value)
        return default

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Sequence[Sound]:
        self._running, first = list(rows), rows[0].claim
        frames = max(self._codebooks, math.ceil(self._seconds(first) * self._frame_rate))
        # Each codebook is a step behind the one before it, and all of them behind the start.
        self._done, self._total = 0, frames + self._codebooks - 1
        try:
            waves = self._generate(rows, self._chosen(first, "guidance_scale", 1.0))
        except _AbandonedError:
            return [Sound(self._rate, 1, b"")] * len(rows)
        finally:
            self._running = []
        length = round(self._seconds(first) * self._rate)
        pairs = zip(rows, waves, strict=False)
        return [to_sound(w[:, :length], self._rate, r.claim.params["format"]) for r, w in pairs]

    def _generate(self, rows: Sequence[Row], guidance: float) -> torch.Tensor:
        """(padded, channels, samples), the rows' first."""
        texts = [row.claim.params["prompt"] for row in rows]
        prompts = self._tokenizer(
            [*texts, *[""] * (self.padded - len(rows))],
            padding="max_length",
            max_length=self._width,
            return_tensors="pt",
        )
        draws = [*(self._draw(row) for row in rows), *[GREEDY] * (self.padded - len(rows))]
        choice = _Choice(draws, self._codebooks, guidance, self.device, self._between)
        waves: torch.Tensor = self.model.generate(
            input_ids=prompts.input_ids.to(self.device),
            attention_mask=prompts.attention_mask.to(self.device),
            do_sample=False,
            guidance_scale=guidance,
            max_new_tokens=self._total,
            logits_processor=LogitsProcessorList([choice]),
        )
        return waves

    def _draw(self, row: Row) -> Draw:
        return Draw(
            seed=row.seed,
            temperature=self._chosen(row.claim, "temperature", 1.0),
            top_k=int(self.entry.limits.get("top_k", _TOP_K)),
        )

    def _between(self) -> None:
        """Before each token: a sign of life, and the moment for a drop."""
        self.tick()
        wanted = sum(self.is_wanted(row) for row in self._running)
        if not wanted:
            raise _AbandonedError
        self.work.add(computed=self.padded, useful=wanted)
        self._done += 1

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """Tokens of all its rows."""
        total = max(1, self._total)
        playing = [row.claim.task_id for row in self._running]
        return [
            Glimpse(
                one.task_id,
                one.done * total + playing.count(one.task_id) * self._done,
                one.total * total,
            )
            for one in super().glimpses(task_ids)
        ]


class _Choice(LogitsProcessor):  # type: ignore[misc]
    """Leaves of each codebook's logits only the token that its row's own draw chooses.

    Guided logits come as two halves, with and without the prompt, and transformers joins them
    after this: so it joins them itself and answers with two halves alike, which joined are the
    same again. That takes finite numbers.
    """

    def __init__(
        self,
        draws: Sequence[Draw],
        codebooks: int,
        guidance: float,
        device: str,
        between: Callable[[], None],
    ) -> None:
        self._sampler = Sampler([draw for draw in draws for _ in range(codebooks)], device)
        self._books = torch.arange(codebooks, device=device).repeat(len(draws))
        self._codebooks, self._guidance, self._between = codebooks, guidance, between

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._between()
        logits: Any = scores.float()
        is_guided = len(scores) == 2 * len(input_ids)
        if is_guided:
            asked, free = logits.chunk(2)
            logits = free + (asked - free) * self._guidance
        # A place of the noise for each codebook of each step.
        places = input_ids.shape[1] * self._codebooks + self._books
        chosen = self._sampler.choose(logits, places)
        only = torch.full_like(logits, _OUT).scatter(1, chosen[:, None], 0.0).to(scores.dtype)
        return torch.cat([only, only]) if is_guided else only
