"""The caption engine: image-to-text tasks, a whole batch of captions at a time.

A picture is opened as its task is admitted, so that a broken one fails alone. Captions that begin
alike in length share a batch, always of the full size, and each token is drawn by its row's own
seed, so that a caption's bytes depend on no mate. Knows no family of models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from genfarm_shared.kinds.text import TextGeneration
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output
from genfarm_workers.engines.batch import BatchEngine, Row
from genfarm_workers.engines.captioner import load_captioner
from genfarm_workers.engines.continuation import Continuation, Detokenizer
from genfarm_workers.engines.opening import open_picture
from genfarm_workers.engines.static import RowChoice, RowsDone


@dataclass(frozen=True, slots=True)
class Caption:
    """What one row became."""

    text: str
    #: `stop` or `length`.
    finish_reason: str
    #: Tokens drawn.
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A task's picture and the beginning of its caption, as the model takes them."""

    pixels: torch.Tensor
    beginning: list[int]


class CaptionEngine(BatchEngine[Caption]):
    """Captions by vision-encoder-decoder models and BLIP."""

    counts_calls = True

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._captioner = load_captioner(self.entry, self.device)
        self._seen: dict[str, _Seen] = {}

    def modules(self) -> list[Any]:
        return [self._captioner.model]

    def refusal(self, claim: Claim) -> Failure | None:
        beginning = self._captioner.begin(claim.params["prompt"])
        fault = self._too_long(beginning, claim.params["max_new_tokens"])
        if fault is not None:
            return Failure("invalid_params", fault)
        picture = open_picture(claim, "image")
        if isinstance(picture, Failure):
            return picture
        self._seen[claim.task_id] = _Seen(self._captioner.see(picture), beginning)
        return None

    def run(self, rows: Sequence[Row]) -> Sequence[Caption]:
        captions: dict[Row, Caption] = {}
        # Taken at once, because a tick may drop tasks of a batch that is still to come.
        seen = {row: self._seen[row.claim.task_id] for row in rows}
        for length in dict.fromkeys(len(one.beginning) for one in seen.values()):
            alike = [row for row in rows if len(seen[row].beginning) == length]
            captions.update(zip(alike, self._write({r: seen[r] for r in alike}), strict=True))
        return [captions[row] for row in rows]

    def finish(self, claim: Claim, pieces: Sequence[Caption]) -> Output:
        self._seen.pop(claim.task_id, None)
        texts = [piece.text for piece in pieces]
        reasons = [piece.finish_reason for piece in pieces]
        return Output(
            claim.task_id,
            output={"text": texts[0], "texts": texts, "finish_reason": reasons},
            metrics={"output_tokens": sum(piece.tokens for piece in pieces)},
        )

    def drop(self, task_ids: Sequence[str]) -> None:
        super().drop(task_ids)
        for task_id in task_ids:
            self._seen.pop(task_id, None)

    def _too_long(self, beginning: Sequence[int], max_new_tokens: int) -> str | None:
        context = self._captioner.context
        if len(beginning) + max_new_tokens <= context:
            return None
        return (
            f"max_new_tokens: the prompt's {len(beginning)} tokens, the start among them, and "
            f"{max_new_tokens} new ones are more than the {context} that model "
            f"{self.entry.key!r} can say. Ask for fewer or shorten the prompt"
        )

    def _write(self, seen: Mapping[Row, _Seen]) -> list[Caption]:
        """Captions of rows that begin alike."""
        lines = [self._line(row, sight) for row, sight in seen.items()]
        self._generate(list(seen.values()), lines, self._watch(list(seen), lines))
        return [self._caption(line) for line in lines]

    def _line(self, row: Row, sight: _Seen) -> Continuation:
        """The row as the sampler knows it: a text-generation of no filters."""
        told = row.claim.params
        asked = {name: told[name] for name in ("prompt", "max_new_tokens", "temperature")}
        # Only a text needs some prompt; a caption begins by itself.
        params = TextGeneration(**asked | {"prompt": asked["prompt"] or "-"}).model_dump()
        tokenizer, eos_ids = self._captioner.tokenizer, self._captioner.eos_ids
        detokenizer = Detokenizer(tokenizer, sight.beginning)
        return Continuation(
            row.claim.task_id, row.k, sight.beginning, params, row.seed, eos_ids, detokenizer
        )

    def _watch(self, rows: Sequence[Row], lines: Sequence[Continuation]) -> Callable[[int], None]:
        """What follows each token: a sign of life, and an end for rows whose task was dropped."""

        def watch(useful: int) -> None:
            self.work.add(computed=self.padded, useful=useful)
            self.tick()
            for row, line in zip(rows, lines, strict=True):
                if line.finish_reason is None and not self.is_wanted(row):
                    line.finish_reason = "stop"

        return watch

    def _generate(
        self, seen: Sequence[_Seen], lines: Sequence[Continuation], watch: Callable[[int], None]
    ) -> None:
        """Feed the lines their tokens, beside fillers up to the full size of a batch."""
        missing = self.padded - len(seen)
        pixels = torch.stack([one.pixels for one in seen])
        fillers = torch.zeros((missing, *pixels.shape[1:]))
        beginnings = [one.beginning for one in seen]
        self._captioner.generate(
            torch.cat([pixels, fillers]),
            [*beginnings, *beginnings[:1] * missing],
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=1,
                max_new_tokens=max(line.params["max_new_tokens"] for line in lines),
            ),
            logits_processor=LogitsProcessorList([RowChoice(lines, self.padded)]),
            stopping_criteria=StoppingCriteriaList([RowsDone(lines, watch)]),
        )

    def _caption(self, line: Continuation) -> Caption:
        text = self._captioner.decode(line.prompt_ids) + line.text
        return Caption(text.strip(), line.finish_reason or "length", line.drawn)
