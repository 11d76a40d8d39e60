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

from genfarm_workers.engines import Work
from genfarm_workers.engines.continuation import Continuation
from genfarm_workers.engines.graphs import Graphs
from genfarm_workers.engines.kv import WINDOW_STEP, SlotCache, ceil_to
from genfarm_workers.engines.lanes import Lane, Lanes, seen_mask
from genfarm_workers.engines.language import Language, pad_ids, tensor_of
from genfarm_workers.engines.prefix import CHUNK, PrefixStore
from genfarm_workers.engines.sampler import Sampler

#: The last chunk of a prompt is padded to a multiple of this, so that few shapes exist.
PREFILL_STEP = 32


@dataclass(frozen=True, slots=True)
class Pace:
    """How a slot decoder goes about its steps; none of it changes a byte."""

    #: Decode steps between two looks of the host: a row that ends in between is computed on
    #: in vain. 1 on a CPU, where a look costs nothing; on a GPU the best is about
    #: sqrt(2 * host seconds * tokens of a text / step seconds), 6 to 8 for small models.
    steps: int = 1
    #: Kernels that do not depend on which rows are sampled, so that they can be captured.
    is_uniform: bool = False
    #: Bytes of prompts' beginnings that are kept; 0 keeps none.
    prefix_bytes: int = 0


class SlotDecoder:
    """Continuations in slots; some tokens for each per `advance`."""

    def __init__(self, language: Language, slots: int, pace: Pace | None = None) -> None:
        self._language = language
        self._pace = pace or Pace()
        device, steps = language.device, self._pace.steps
        config = language.model.config.get_text_config()
        self._cache = SlotCache(config.num_hidden_layers, slots, device, language.context)
        self._prefixes = PrefixStore(self._pace.prefix_bytes)
        self._lanes = Lanes(
            slots, device, language.eos_ids, steps=steps, is_uniform=self._pace.is_uniform
        )
        self._graphs = Graphs(device)
        #: Rows in use; None is a free slot, computed along and ignored.
        self._rows: list[Continuation | None] = [None] * slots
        #: Whether rows came or went since the lanes were filled.
        self._is_stale = True
        self._every = torch.arange(ceil_to(language.context, WINDOW_STEP), device=device)
        self.work = Work()

    def free(self) -> int:
        return self._rows.count(None)

    def reach(self) -> int:
        """Columns that every row's step attends to: those of the longest; 0 without rows."""
        return max((row.columns for row in self._rows if row is not None), default=0)

    def begin(self, rows: Sequence[Continuation]) -> list[Continuation]:
        """Seat continuations of one prompt, at most `free()`; return those already done."""
        seats = [seat for seat, row in enumerate(self._rows) if row is None][: len(rows)]
        logits = self.prefill(rows[0].prompt_ids, seats)
        done = []
        for row, seat, token in zip(rows, seats, self._first_tokens(rows, logits), strict=True):
            if row.take(token):
                done.append(row)
                continue
            self._rows[seat], self._is_stale = row, True
            if row.draw().is_penalised:
                self._lanes.remember(seat, [*row.prompt_ids, token], logits.shape[-1])
        return done

    @torch.inference_mode()
    def advance(self) -> list[Continuation]:
        """A few tokens for every row; return the rows that ended."""
        rows = [row for row in self._rows if row is not None]
        if not rows:
            return []
        if self._is_stale:
            self._lanes.fill([_lane(row) for row in self._rows])
            self._is_stale = False
        steps = self._pace.steps
        if not self._pace.is_uniform:
            steps = min(steps, max(row.left for row in rows))
        end = max(row.columns for row in rows) - 1 + steps
        tokens = self._run(min(ceil_to(end, WINDOW_STEP), len(self._every)), steps)
        drawn = sum(row.drawn for row in rows)
        done = [row for row in self._rows if row is not None and self._feed(row, tokens)]
        useful = sum(row.drawn for row in rows) - drawn
        self.work.add(computed=steps * len(self._rows), useful=useful)
        for row in done:
            self._leave(self._rows.index(row))
        return done

    def drop(self, task_ids: set[str]) -> None:
        for seat, row in enumerate(self._rows):
            if row is not None and row.task_id in task_ids:
                self._leave(seat)

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], seats: Sequence[int]) -> torch.Tensor:
        """Logits (1, V) after the prompt, whose keys and values go to all `seats`.

        Whole chunks, then the rest, each attending to all before it. Chunks that
        are kept from an earlier prompt are the same to the bit as computed ones.
        """
        start, prefix = self._prefixes.find(ids)
        self._cache.begin_prompt(prefix)
        while len(ids) - start > CHUNK:
            end = start + CHUNK
            self._chunk(self._language.body, ids[start:end], start)
            if self._prefixes.is_on:
                self._prefixes.keep(ids[:end], self._cache.chunk(start, end))
            start = end
        kept = torch.tensor([len(ids) - start - 1], device=self._language.device)
        found = self._chunk(self._language.model, ids[start:], start, logits_to_keep=kept)
        self._cache.seat_prompt(seats, len(ids))
        logits: torch.Tensor = found.logits[:, -1]
        return logits

    def decode(self, tokens: Sequence[int], columns: Sequence[int]) -> torch.Tensor:
        """Logits (B, V) after each row's token, which is written at the row's column."""
        window = ceil_to(max(columns) + 1, WINDOW_STEP)
        self._cache.reserve(window)
        self._cache.mark_written([column + 1 for column in columns])
        ids = torch.tensor([tokens, columns], device=self._language.device)
        return self._forward(ids[0], ids[1], window)

    def _chunk(self, model: Any, ids: Sequence[int], start: int, **options: Any) -> Any:
        """One forward of the prompt's tokens from `start` on."""
        width = min(ceil_to(len(ids), PREFILL_STEP), self._language.context - start)
        columns = self._every[: start + width]
        places = columns[start:]
        self.work.add(computed=width, useful=len(ids))
        return model(
            input_ids=tensor_of([pad_ids(ids, width)], self._language.device),
            position_ids=places[None],
            attention_mask=self._mask(columns[None, :] <= places[:, None])[None, None],
            past_key_values=self._cache.states,
            use_cache=True,
            **options,
        )

    def _run(self, window: int, steps: int) -> list[list[int]]:
        """(B, steps) tokens of every slot."""
        self._cache.reserve(window)
        if self._cache.ask_moved():
            self._graphs.forget()
        self._cache.mark_written([row.columns - 1 + steps if row else 1 for row in self._rows])

        def run() -> torch.Tensor:
            return self._lanes.run(lambda ids, at: self._forward(ids, at, window), steps)

        chosen = self._graphs.run((window, steps, self._lanes.mode), run)
        tokens: list[list[int]] = chosen.T.tolist()
        return tokens

    @torch.inference_mode()
    def _forward(self, tokens: torch.Tensor, columns: torch.Tensor, window: int) -> torch.Tensor:
        self._cache.begin_decode(columns, window)
        mask = self._mask(self._every[:window] <= columns[:, None])
        logits = self._language.model(
            input_ids=tokens[:, None],
            position_ids=columns[:, None],
            attention_mask=mask[:, None, None, :],
            past_key_values=self._cache.states,
            use_cache=True,
        ).logits
        return logits[:, -1]  # type: ignore[no-any-return]

    def _mask(self, is_seen: torch.Tensor) -> torch.Tensor:
        """What attention adds: made here once, and not from booleans in every layer."""
        mask = torch.zeros(is_seen.shape, dtype=self._language.model.dtype, device=is_seen.device)
        return mask.masked_fill_(~is_seen, -torch.inf)

    def _first_tokens(self, rows: Sequence[Continuation], logits: torch.Tensor) -> list[int]:
        """Drawn from the one prompt's logits, for each row by its own parameters."""
        device = self._language.device
        sampler = Sampler([row.draw() for row in rows], device)
        seen = None
        if sampler.penalises:
            seen = seen_mask(rows[0].prompt_ids, logits.shape[-1], device)
        start = torch.zeros(len(rows), dtype=torch.long, device=device)
        tokens: list[int] = sampler.choose(logits.expand(len(rows), -1), start, seen).tolist()
        return tokens

    def _feed(self, row: Continuation, tokens: Sequence[Sequence[int]]) -> bool:
        """Hand the row its tokens until it is done; those behind its end are no tokens."""
        return any(row.take(token) for token in tokens[self._rows.index(row)])

    def _leave(self, seat: int) -> None:
        self._rows[seat], self._is_stale = None, True


def _lane(row: Continuation | None) -> Lane | None:
    if row is None:
        return None
    return Lane(row.last_token, row.columns - 1, row.drawn, row.left, row.draw())
