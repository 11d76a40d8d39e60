"""The slot decoder: a fixed number of rows that continuations join and leave at any step.

Every row's keys and values start at column 0 of its own slot. A prompt is
computed alone, and a decode step always computes all rows at one fixed batch
size, with an explicit mask; columns past a row's own weigh exactly zero. So
a row's numbers are the same to the bit whatever runs beside it. The idea of
slots is that of Orca's iteration-level scheduling (Yu et al., OSDI 2022).
Knows tokens and tensors; no text and no task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.language import Language, ceil_to, pad_ids, tensor_of
from genfarm_workers.engines.sampler import GREEDY, choose_tokens

#: Prompts are padded to a multiple of this, so that few prefill shapes exist.
PREFILL_STEP = 32
#: Columns that a decode step attends to come in multiples of this, for the same reason.
WINDOW_STEP = 64


@dataclass(slots=True)
class _Plan:
    """What the layers do with the keys and values of the forward that runs now."""

    #: Rows that a prefill fills; None during a decode step.
    rows: list[int] | None
    #: Columns: of the prompt in a prefill, attended to in a decode step.
    columns: int
    #: (B,) column of each row's new token; None during a prefill.
    positions: torch.Tensor | None = None


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, (B, heads, columns, width) each, grown on demand."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.plan = _Plan(rows=None, columns=0)

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = key_states.new_zeros(self._shape(key_states, 0))
        self.values = value_states.new_zeros(self._shape(value_states, 0))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._stored(self.keys, key_states)
        self.values = self._stored(self.values, value_states)
        if self.plan.rows is not None:
            return key_states, value_states
        columns = self.plan.columns
        return self.keys[:, :, :columns], self.values[:, :, :columns]

    def _stored(self, kept: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        plan = self.plan
        if kept.shape[2] < plan.columns:
            grown = states.new_zeros(self._shape(states, ceil_to(plan.columns, WINDOW_STEP)))
            grown[:, :, : kept.shape[2]] = kept
            kept = grown
        if plan.rows is None:
            every = torch.arange(self.batch, device=kept.device)
            kept[every, :, plan.positions] = states[:, :, 0]
        else:
            # Zeros behind the prompt: a masked value weighs zero, but zero times the
            # infinity that an overflowing neighbour left would be no number.
            kept[plan.rows] = 0
            kept[plan.rows, :, : plan.columns] = states[:, :, : plan.columns]
        return kept

    def _shape(self, states: torch.Tensor, columns: int) -> tuple[int, int, int, int]:
        return (self.batch, states.shape[1], columns, states.shape[3])

    # The three below are asked for by the cache's own interface. The mask is always given,
    # so no model sizes one from them.
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.plan.columns, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class SlotDecoder:
    """Continuations in slots; one token for each per `advance`."""

    def __init__(self, language: Language, slots: int) -> None:
        self._language = language
        layers = [_SlotLayer(slots) for _ in range(_layers_of(language.model.config))]
        self._layers = layers
        self._cache = Cache(layers=layers)
        #: Rows in use; None is a free slot, computed along and ignored.
        self._rows: list[Continuation | None] = [None] * slots
        self._last = [0] * slots
        self._columns = [0] * slots

    def free(self) -> int:
        return self._rows.count(None)

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]:
        """Seat continuations of one prompt, at most `free()`; return those already done."""
        seats = [seat for seat, row in enumerate(self._rows) if row is None][: len(rows)]
        logits = self.prefill(rows[0].prompt_ids, seats)
        tokens = choose_tokens(
            logits.expand(len(rows), -1), [row.next_draw() for row in rows]
        ).tolist()
        done = []
        for row, seat, token in zip(rows, seats, tokens, strict=True):
            if row.take(token):
                done.append(row)
            else:
                self._rows[seat], self._last[seat] = row, token
                self._columns[seat] = len(row.prompt_ids)
        return done

    def advance(self) -> list[Continuation]:
        """One token for every row; return the rows it ended."""
        if not any(self._rows):
            return []
        logits = self.decode(self._last, self._columns)
        draws = [row.next_draw() if row is not None else GREEDY for row in self._rows]
        done = []
        for seat, token in enumerate(choose_tokens(logits, draws).tolist()):
            row = self._rows[seat]
            if row is None:
                continue
            self._last[seat] = token
            self._columns[seat] += 1
            if row.take(token):
                done.append(row)
                self._leave(seat)
        return done

    def drop(self, task_ids: set[str]) -> None:
        for seat, row in enumerate(self._rows):
            if row is not None and row.task_id in task_ids:
                self._leave(seat)

    def _leave(self, seat: int) -> None:
        self._rows[seat], self._last[seat], self._columns[seat] = None, 0, 0

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], seats: list[int]) -> torch.Tensor:
        """Logits (1, V) after the prompt, whose keys and values go to all `seats`."""
        width = min(ceil_to(len(ids), PREFILL_STEP), self._language.context)
        self._plan(_Plan(rows=seats, columns=len(ids)))
        device = self._language.device
        every = torch.arange(width, device=device)
        logits = self._language.model(
            input_ids=tensor_of([pad_ids(ids, width)], device),
            position_ids=every[None],
            attention_mask=(every[None, :] <= every[:, None])[None, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=torch.tensor([len(ids) - 1], device=device),
        ).logits
        return logits[:, -1]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Logits (B, V) after each row's token, which is written at the row's column."""
        device = self._language.device
        window = ceil_to(max(columns) + 1, WINDOW_STEP)
        positions = torch.tensor(columns, device=device)
        self._plan(_Plan(rows=None, columns=window, positions=positions))
        seen = torch.arange(window, device=device)[None, :] <= positions[:, None]
        logits = self._language.model(
            input_ids=tensor_of([tokens], device).T,
            position_ids=positions[:, None],
            attention_mask=seen[:, None, None, :],
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        return logits[:, -1]  # type: ignore[no-any-return]

    def _plan(self, plan: _Plan) -> None:
        for layer in self._layers:
            layer.plan = plan


def _layers_of(config: Any) -> int:
    return int(config.get_text_config().num_hidden_layers)
