"""The text engine: text-generation tasks on a causal language model, one token per step.

Turns tasks into rows and rows into outputs. Which decoder computes the rows
is decided once, at load: slots, or whole batches for a model whose numbers
in slots are not those of a plain forward. Knows no sampling and no cache.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Glimpse, Output, Work
from genfarm_workers.engines.admission import Waiting
from genfarm_workers.engines.continuation import Continuation, continuations_of
from genfarm_workers.engines.exported import StandIn
from genfarm_workers.engines.language import Language, load_language, tensor_of
from genfarm_workers.engines.memory import is_device_fault
from genfarm_workers.engines.portable import ExportParts, OneOutput
from genfarm_workers.engines.precision import is_lowered
from genfarm_workers.engines.prefix import CHUNK
from genfarm_workers.engines.recompute import RecomputeDecoder
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.slots import Pace, SlotDecoder
from genfarm_workers.engines.static import StaticDecoder

logger = logging.getLogger(__name__)

#: Tokens that the slot decoder is checked with at load, half of the rest behind a whole chunk
#: by prefill, half by decode steps.
_CHECK_LENGTH = CHUNK + 24
#: Rows of the check: some, so that they could be mixed up. Not those of the engine, which may
#: change: how a model is run must not.
_CHECK_ROWS = 4
#: Tokens of the texts that an export is tried with; any length can be run.
_EXAMPLE_LENGTH = 24
#: MiB of prompts' beginnings that are kept: some 50 chunks of an 8B model, 7,000 of a 0.1B.
_PREFIX_MIB = 256
#: Largest difference of logits, in standard deviations of the logits, that rounding
#: explains. Seen on random two-layer models of seven families: 3e-6 in float32, 4e-2 in
#: bfloat16; attention that the mask gets wrong (GPT-Neo) gives 0.6.
_CHECK_TOLERANCE = {torch.float32: 1e-3}
_CHECK_TOLERANCE_HALF = 0.1


class Decoder(Protocol):
    """Computes rows."""

    work: Work

    def free(self) -> int: ...

    def reach(self) -> int: ...

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]: ...

    def advance(self) -> list[Continuation]: ...

    def drop(self, task_ids: set[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Task:
    claim: Claim
    rows: Sequence[Continuation]

    def output(self) -> Output:
        texts = [row.text for row in self.rows]
        reasons = [row.finish_reason for row in self.rows]
        drawn = sum(row.drawn for row in self.rows)
        return Output(
            self.claim.task_id,
            output={"text": texts[0], "texts": texts, "finish_reason": reasons},
            metrics={"prompt_tokens": len(self.rows[0].prompt_ids), "output_tokens": drawn},
        )

    def glimpse(self) -> Glimpse:
        done = sum(row.drawn for row in self.rows)
        total = len(self.rows) * self.claim.params["max_new_tokens"]
        return Glimpse(self.claim.task_id, done, total, self.rows[0].detokenizer.peek())


class TextEngine:
    """Rows of many tasks decode together; each leaves when it is done."""

    def __init__(self, entry: ModelEntry, device: str = "cpu", tick: Tick = no_tick) -> None:
        self.slots = entry.slots
        self._entry = entry
        self._device = device
        self._tick = tick
        self.work = Work()
        self._tasks: dict[str, _Task] = {}
        #: Rows of admitted tasks that have no seat yet.
        self._waiting = Waiting()
        #: Rows that may wait here beyond those that fit, so that there is a choice.
        self._look_ahead = int(entry.limits.get("look_ahead", 0))
        self._refused: list[Output] = []

    def load(self) -> None:
        """Raises ModelUnavailable, saying what is missing."""
        self._language = load_language(self._entry, self._device)
        self._decoder = self._make_decoder()
        self.work = self._decoder.work

    def resize(self, rows: int) -> None:
        self.slots = rows
        self._decoder = self._make_decoder()
        self.work = self._decoder.work

    def modules(self) -> list[Any]:
        model = self._language.model
        return [] if isinstance(model, StandIn) else [model]

    def export_parts(self) -> ExportParts:
        """Token ids (B, T) to logits (B, T, V): of a text padded on its right, those of its own
        places are as if it stood alone."""
        module = OneOutput(self._language.model, ["input_ids"], use_cache=False)
        length = min(_EXAMPLE_LENGTH, self._language.context)
        rows = [_any_ids(self._language, length, start) for start in range(_CHECK_ROWS)]
        inputs = {"input_ids": tensor_of(rows, self._language.device)}
        return ExportParts(module, inputs, {"input_ids": {1: "tokens"}}, "logits")

    def free_rows(self, batch_key: str) -> int:
        return max(0, self._decoder.free() + self._look_ahead - len(self._waiting))

    def admit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            ids = self._language.encode(claim.params["prompt"])
            fault = _fault(self._language, ids, claim.params["max_new_tokens"])
            if fault is not None:
                failure = Failure("invalid_params", fault)
                self._refused.append(Output(claim.task_id, failure=failure))
                continue
            rows = continuations_of(
                claim.task_id,
                claim.params,
                claim.seed,
                ids,
                self._language.eos_ids,
                self._language.tokenizer,
            )
            self._tasks[claim.task_id] = _Task(claim, rows)
            self._waiting.add(rows)

    def step(self, now: float) -> list[Output]:
        """Seat waiting rows, then draw one token for every row."""
        ended = self._seat()
        ended += self._decoder.advance()
        refused, self._refused = self._refused, []
        return [*refused, *self._complete(dict.fromkeys(row.task_id for row in ended))]

    def wakes_at(self, now: float) -> float | None:
        return now if self._tasks or self._refused else None

    def drop(self, task_ids: Sequence[str]) -> None:
        gone = set(task_ids)
        for task_id in gone:
            self._tasks.pop(task_id, None)
        self._waiting.discard(gone)
        self._refused = [output for output in self._refused if output.task_id not in gone]
        self._decoder.drop(gone)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        """How far tasks are, and the text so far of the first continuation of each."""
        known = [self._tasks[task_id] for task_id in task_ids if task_id in self._tasks]
        return [task.glimpse() for task in known]

    def _make_decoder(self) -> Decoder:
        if isinstance(self._language.model, StandIn):
            return RecomputeDecoder(self._language, self.slots)
        if self._takes_slots:
            return SlotDecoder(self._language, self.slots, pace_of(self._entry, self._device))
        return StaticDecoder(self._language, self.slots, self._tick)

    @cached_property
    def _takes_slots(self) -> bool:
        """Found out at load, once: a resize may come when memory is short."""
        return takes_slots(self._language)

    def _seat(self) -> list[Continuation]:
        ended = []
        while len(self._waiting) and (room := self._decoder.free()):
            ended += self._decoder.begin(self._waiting.take(room, self._decoder.reach()))
        return ended

    def _complete(self, task_ids: Iterable[str]) -> list[Output]:
        """Outputs of those of the tasks whose every row is done."""
        complete = [
            task_id
            for task_id in task_ids
            if task_id in self._tasks  # dropped within the step
            and all(row.finish_reason is not None for row in self._tasks[task_id].rows)
        ]
        return [self._tasks.pop(task_id).output() for task_id in complete]


def pace_of(entry: ModelEntry, device: str) -> Pace:
    """From the registry's limits `decode_steps` and `prefix_mib`, or by the device."""
    is_cuda = device.startswith("cuda")
    return Pace(
        steps=int(entry.limits.get("decode_steps", 8 if is_cuda else 1)),
        is_uniform=is_cuda,
        prefix_bytes=int(entry.limits.get("prefix_mib", _PREFIX_MIB)) * 2**20,
    )


def takes_slots(language: Language) -> bool:
    """Whether a prefill and decode steps in slots give the logits of a plain forward."""
    reason = _no_slots_reason(language)
    if reason is not None:
        logger.warning(
            "model %s runs in whole batches, not in slots: %s; ragged lengths will cost more",
            language.key,
            reason,
        )
    return reason is None


def _no_slots_reason(language: Language) -> str | None:
    # Their windows are longer than the check below, and an explicit mask overrides them.
    if _attends_locally(language):
        return "its layers attend to a part of the context"
    try:
        difference = _check_difference(language)
    # Whatever a model raises on arguments it was not written for.
    except Exception as error:
        if is_device_fault(error):
            raise
        return f"{type(error).__name__}: {error}"[:200]
    exact = None if is_lowered(language.model) else _CHECK_TOLERANCE.get(language.model.dtype)
    tolerance = exact or _CHECK_TOLERANCE_HALF
    return None if difference <= tolerance else f"logits differ by {difference:.2g} deviations"


def _attends_locally(language: Language) -> bool:
    config = language.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    if kinds:
        return kinds != {"full_attention"}
    window = getattr(config, "sliding_window", None)
    is_narrow = window is not None and window < language.context
    return is_narrow or "local" in str(getattr(config, "attention_types", ""))


def _any_ids(language: Language, length: int, start: int = 0) -> list[int]:
    vocabulary = language.model.config.get_text_config().vocab_size
    return [(7919 * (start + place) + 13) % vocabulary for place in range(length)]


@torch.inference_mode()
def _check_difference(language: Language) -> float:
    """Largest difference from a plain forward, in standard deviations of its logits."""
    length = min(_CHECK_LENGTH, language.context)
    ids = _any_ids(language, length)
    plain = language.model(input_ids=tensor_of([ids], language.device)).logits[0].float()
    half, decoder = length - min(12, length // 2), SlotDecoder(language, _CHECK_ROWS)
    rows = [decoder.prefill(ids[:half], list(range(_CHECK_ROWS)))[0]]
    for place in range(half, length):
        rows.append(decoder.decode([ids[place]] * _CHECK_ROWS, [place] * _CHECK_ROWS)[-1])
    difference = (torch.stack(rows).float() - plain[half - 1 :]).abs().max()
    return float(difference / plain.std())


def _fault(language: Language, ids: Sequence[int], max_new_tokens: int) -> str | None:
    """Why the prompt cannot be continued by this model, if so."""
    if not ids:
        return f"the prompt holds no token for model {language.key!r}; write at least a word"
    room = language.context - max_new_tokens
    if len(ids) <= room:
        return None
    return (
        f"the prompt has {len(ids)} tokens and max_new_tokens is {max_new_tokens}, together more "
        f"than the context of {language.context} of model {language.key!r}. Shorten the prompt "
        f"to at most {max(room, 0)} tokens or ask for fewer new ones"
    )
