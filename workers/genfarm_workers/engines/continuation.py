"""One row of text on its way: its prompt, the tokens so far, and when it ends.

A task with `n` has n of these. Decodes as tokens come, because a stop string
may span tokens and a character may span them too. Knows no model, no batch
and no device.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from genfarm_workers.engines.noise import derive_seed
from genfarm_workers.engines.sampler import Draw

#: What a byte-level tokenizer shows for a character whose bytes are not all there yet.
_UNFINISHED = "\ufffd"
#: Tokens of the prompt decoded along, so that a tokenizer that trims a leading space
#: trims the prompt's and not the continuation's.
_PROMPT_TAIL = 4


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def decode(self, token_ids: Sequence[int], **options: Any) -> str: ...


class Detokenizer:
    """Text of a growing list of tokens, never ending inside a character."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids[-_PROMPT_TAIL:])
        #: Tokens before `_start` are done with; those before `_shown` are in `text`.
        self._start, self._shown = 0, len(self._ids)
        self.text = ""

    def push(self, token: int) -> None:
        """Grow `text` by the token, or by nothing while a character is unfinished."""
        self._ids.append(token)
        fresh = self._fresh()
        if fresh and not fresh.endswith(_UNFINISHED):
            self.text += fresh
            self._start, self._shown = self._shown, len(self._ids)

    def hold(self, token: int) -> None:
        """Keep the token for `flush`: decoding step by step costs more than a small model."""
        self._ids.append(token)

    def flush(self) -> None:
        """Show what is left, unfinished or not."""
        self.text += self._fresh()
        self._start = self._shown = len(self._ids)

    def peek(self) -> str:
        """The text with what is held back, as far as its characters are finished."""
        return (self.text + self._fresh()).rstrip(_UNFINISHED)

    def _fresh(self) -> str:
        shown = self._decode(self._ids[self._start : self._shown])
        return self._decode(self._ids[self._start :])[len(shown) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@dataclass(eq=False, slots=True)
class Continuation:
    """A row: takes tokens until it is done."""

    task_id: str
    #: Which of the task's n continuations.
    k: int
    prompt_ids: Sequence[int]
    #: Checked parameters of text-generation.
    params: Mapping[str, Any]
    #: This continuation's own.
    seed: int
    eos_ids: Collection[int]
    detokenizer: Detokenizer
    #: Tokens drawn, the end-of-text token included.
    drawn: int = 0
    #: The last of them.
    last_token: int = 0
    #: `stop` or `length` once it is done.
    finish_reason: str | None = field(default=None)

    @property
    def text(self) -> str:
        return self.detokenizer.text

    @property
    def columns(self) -> int:
        """Tokens of prompt and continuation that come before the next one to be drawn."""
        return len(self.prompt_ids) + self.drawn

    @property
    def left(self) -> int:
        """Tokens that it may still draw."""
        return int(self.params["max_new_tokens"]) - self.drawn

    def draw(self) -> Draw:
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        return Draw(self.seed, **{name: self.params[name] for name in names})

    def take(self, token: int) -> bool:
        """Append a drawn token; true when the row is done. A done row takes nothing more."""
        if self.finish_reason is not None:
            return True
        self.drawn += 1
        self.last_token = token
        if token in self.eos_ids:
            self._finish("stop")
        else:
            self._append(token)
        return self.finish_reason is not None

    def _append(self, token: int) -> None:
        searched = len(self.text)
        if self.params["stop"]:
            self.detokenizer.push(token)
        else:
            self.detokenizer.hold(token)
        if self._cut_at_stop(searched):
            self.finish_reason = "stop"
        elif self.drawn >= self.params["max_new_tokens"]:
            self._finish("length")

    def _finish(self, reason: str) -> None:
        searched = len(self.text)
        self.detokenizer.flush()
        self.finish_reason = "stop" if self._cut_at_stop(searched) else reason

    def _cut_at_stop(self, searched: int) -> bool:
        """End the text before the first stop string; `searched` characters hold none."""
        found = []
        for stop in self.params["stop"]:
            place = self.text.find(stop, max(0, searched - len(stop) + 1))
            if place >= 0:
                found.append(place)
        if found:
            self.detokenizer.text = self.text[: min(found)]
        return bool(found)


def continuations_of(
    task_id: str,
    params: Mapping[str, Any],
    seed: int,
    prompt_ids: Sequence[int],
    eos_ids: Collection[int],
    tokenizer: Tokenizer,
) -> list[Continuation]:
    """The task's n rows, in order."""
    return [
        Continuation(
            task_id,
            k,
            prompt_ids,
            params,
            derive_seed(seed, k),
            eos_ids,
            Detokenizer(tokenizer, prompt_ids),
        )
        for k in range(params["n"])
    ]
