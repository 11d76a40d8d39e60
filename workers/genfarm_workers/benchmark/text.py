"""Our text engine beside one `generate` per request, static batches and transformers' own
continuous batching: one model, one process, one thread, tokens per CPU-second.

Also which share of texts is the same alone and in any company, and what a
shared system prompt saves. `python -m genfarm_workers.benchmark.text`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave
from genfarm_workers.benchmark import peers
from genfarm_workers.benchmark.requests import (
    Request,
    Size,
    Words,
    ragged,
    random_gpt2,
    sharing,
)
from genfarm_workers.benchmark.sample import sample
from genfarm_workers.engines.continuation import Continuation, Detokenizer
from genfarm_workers.engines.language import Language
from genfarm_workers.engines.quicken import quicken
from genfarm_workers.engines.slots import Pace, SlotDecoder

_SLOTS = "genfarm slots"
_SEQUENTIAL, _FIFO, _SORTED = "sequential", "static FIFO", "static sorted"
_CONTINUOUS = "transformers continuous batching"
#: On the model as we load it: what is left between the two is the engines' own.
_QUICKENED = f"{_CONTINUOUS}, our layers"
_UNIT = "tokens per CPU-second"
_MIB = 2**20
#: Requests that a workload is drawn from: so few of them would be longer or shorter by chance.
_POOL = 400


@dataclass(frozen=True, slots=True)
class Load:
    """One workload, and what our engine is held to on it."""

    title: str
    requests: Sequence[Request]
    #: How many of them the slowest arm answers: its rate does not depend on it.
    few: int
    slots: int
    #: Goals by the name of the other arm.
    goals: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="genfarm_workers.benchmark.text", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a dry run")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = measure(chosen.rounds, is_quick=chosen.quick)
    sys.stdout.write(json.dumps(report.to_json()) + "\n")


def measure(rounds: int, *, is_quick: bool = False) -> Report:
    """All parts, in minutes, or in seconds where `is_quick`."""
    size = Size(layers=1, width=64, vocabulary=512, most_tokens=6) if is_quick else Size()
    dtypes = (torch.bfloat16, torch.float32)
    parts = [_speed(load, size, rounds) for load in _loads(size, is_quick=is_quick)]
    parts.append(_shared_prompt(size, rounds, is_quick=is_quick))
    parts.append(_same_texts(size, dtypes, is_quick=is_quick))
    question = "How many tokens does a CPU-second give, by our slots and by what else there is?"
    return Report("text", question, tuple(parts))


def _loads(size: Size, *, is_quick: bool) -> list[Load]:
    short = sample(ragged(_POOL, 8, 96, size), 4 if is_quick else 24, _lengths)
    long = sample(ragged(_POOL, 300, 700, size), 3 if is_quick else 12, _lengths)
    common = {_SEQUENTIAL: 6.0, _FIFO: 1.7}
    few_short, few_long = (2, 1) if is_quick else (4, 3)
    return [
        Load("short prompts (8-96)", short, few_short, 16, {**common, _CONTINUOUS: 1.0}),
        Load("long prompts (300-700)", long, few_long, 8, {**common, _CONTINUOUS: 1.3}),
    ]


def _speed(load: Load, size: Size, rounds: int) -> Part:
    stock = random_gpt2(size, torch.bfloat16)
    ours = language_of(size, torch.bfloat16)
    few = sample(load.requests, load.few, _lengths)
    arms = [
        _arm(_SEQUENTIAL, partial(peers.sequential, stock, few)),
        _arm(_FIFO, partial(peers.static, stock, load.requests, load.slots, is_sorted=False)),
        _arm(_SORTED, partial(peers.static, stock, load.requests, load.slots, is_sorted=True)),
        _arm(_CONTINUOUS, partial(peers.continuous, stock, load.requests, load.slots)),
        _arm(_QUICKENED, partial(peers.continuous, ours.model, load.requests, load.slots)),
        _arm(_SLOTS, partial(_count, ours, load.requests, load.slots)),
    ]
    measured = interleave(arms, rounds, partial(_tell, load.title))
    rate = {arm.name: arm.median for arm in measured}
    ratios = [
        Ratio(f"{_SLOTS} / {other}", rate[_SLOTS] / rate[other], load.goals.get(other))
        for other in (_SEQUENTIAL, _FIFO, _SORTED, _CONTINUOUS, _QUICKENED)
    ]
    notes = (
        f"{len(load.requests)} requests, {load.slots} at once, greedy, bfloat16, {_spell(stock)}; "
        "prompts count as work, not as tokens",
        f"{_tell_few(load.requests)}; sequential: {_tell_few(few)}",
        f"the goal is held against the stock model, as the others run; {_QUICKENED}: with our "
        "weight layout and activation, as our slots run",
    )
    return Part(load.title, _UNIT, measured, tuple(ratios), notes)


def _lengths(request: Request) -> tuple[int, ...]:
    """What a request costs; the square, for that outputs differ as much as in the pool."""
    return (len(request.ids), request.new_tokens, request.new_tokens**2)


def _tell_few(requests: Sequence[Request]) -> str:
    read = sum(len(one.ids) for one in requests) / len(requests)
    written = sum(one.new_tokens for one in requests) / len(requests)
    return f"{len(requests)} requests of {read:.0f} tokens on average, {written:.1f} new ones each"


def _shared_prompt(size: Size, rounds: int, *, is_quick: bool) -> Part:
    """The same requests with and without keeping prompts' beginnings."""
    count, shared = (4, 128) if is_quick else (16, 384)
    requests = sharing(count, shared, 16, 8, size)
    ours = language_of(size, torch.bfloat16)
    kept, anew = "prefix kept", "prefix computed anew"
    arms = [
        _arm(kept, partial(_count, ours, requests, 16, Pace(prefix_bytes=256 * _MIB))),
        _arm(anew, partial(_count, ours, requests, 16)),
    ]
    measured = interleave(arms, rounds, partial(_tell, "shared prompt"))
    texts = [write(ours, requests, 16, Pace(prefix_bytes=mib * _MIB)) for mib in (256, 0)]
    same = sum(one == other for one, other in zip(*texts, strict=True)) / count
    rate = {arm.name: arm.median for arm in measured}
    ratios = (
        Ratio(f"{kept} / {anew}", rate[kept] / rate[anew]),
        Ratio("share of texts that are the same", same, goal=1.0),
    )
    notes = (f"{count} prompts of {shared} shared tokens and 16 of their own, 8 new ones each",)
    return Part("shared prompt", _UNIT, measured, ratios, notes)


def _same_texts(size: Size, dtypes: Sequence[torch.dtype], *, is_quick: bool) -> Part:
    """Each text alone, beside the others, in another order, and with other neighbours."""
    count = 3 if is_quick else 8
    requests = ragged(count, 8, 96, size) + ragged(max(1, count // 4), 130, 400, size, seed=5)
    strangers = ragged(2 * count, 3, 200, size, seed=9)
    arms, ratios = [], []
    for dtype in dtypes:
        name, language = str(dtype).removeprefix("torch."), language_of(size, dtype)
        alone = [write(language, [request], 8, seeds=[i])[0] for i, request in enumerate(requests)]
        shares = [_share(alone, texts) for texts in _companies(language, requests, strangers)]
        arms.append(Measured(name, tuple(shares)))
        ratios.append(Ratio(f"least share of same texts, {name}", min(shares), goal=1.0))
    title = "same text alone, batched, in another order, beside others, 4 steps a look"
    notes = (f"{len(requests)} requests, half of them sampled; the values are in that order",)
    return Part(title, "share of texts", tuple(arms), tuple(ratios), notes)


def _companies(
    language: Language, requests: Sequence[Request], strangers: Sequence[Request]
) -> list[list[str]]:
    """The requests' texts in four companies, in the requests' order."""
    places = list(range(len(requests)))
    turned = random.Random(3).sample(places, len(places))  # noqa: S311
    other_order = write(language, [requests[i] for i in turned], 8, seeds=turned)
    crowd = [request for pair in zip(requests, strangers, strict=False) for request in pair]
    seeds = [seed for place in places for seed in (place, 1000 + place)]
    return [
        write(language, requests, 8, seeds=places),
        [text for _, text in sorted(zip(turned, other_order, strict=True))],
        write(language, crowd, 8, seeds=seeds)[::2],
        write(language, requests, 8, Pace(steps=4, is_uniform=True), seeds=places),
    ]


def _share(alone: Sequence[str], texts: Sequence[str]) -> float:
    return sum(one == other for one, other in zip(alone, texts, strict=True)) / len(alone)


def language_of(size: Size, dtype: torch.dtype) -> Language:
    """The random model as our engine would load it, with texts that never end by themselves."""
    model = quicken(random_gpt2(size, dtype))
    return Language("random", model, Words(), "cpu", 1024, frozenset(), 0)


def write(
    language: Language,
    requests: Sequence[Request],
    slots: int,
    pace: Pace | None = None,
    seeds: Sequence[int] = (),
) -> list[str]:
    """The requests' texts; with seeds, the odd ones are sampled."""
    decoder = SlotDecoder(language, slots, pace)
    rows = [_row(request, i, seeds) for i, request in enumerate(requests)]
    waiting, left = rows[::-1], len(rows)
    while left:
        while waiting and decoder.free():
            left -= len(decoder.begin([waiting.pop()]))
        left -= len(decoder.advance())
    return [row.text for row in rows]


def _row(request: Request, place: int, seeds: Sequence[int]) -> Continuation:
    seed = seeds[place] if seeds else 0
    params = {
        "max_new_tokens": request.new_tokens,
        "temperature": float(seed % 2) if seeds else 0.0,
        "top_p": 0.95 if seed % 4 == 1 else 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stop": [],
    }
    words = Detokenizer(Words(), request.ids)
    return Continuation(str(place), 0, request.ids, params, seed, frozenset(), words)


def _count(
    language: Language, requests: Sequence[Request], slots: int, pace: Pace | None = None
) -> int:
    return sum(len(text.split()) for text in write(language, requests, slots, pace))


def _arm(name: str, work: Callable[[], int]) -> Arm:
    def run() -> float:
        started = time.process_time()
        tokens = work()
        return tokens / (time.process_time() - started)

    return Arm(name, run)


def _tell(title: str, done: int, of: int, arm: str) -> None:
    sys.stderr.write(f"{title}: {done} of {of}, {arm}\n")


def _spell(model: Any) -> str:
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    return f"GPT-2 of {millions:.1f} M random weights"


if __name__ == "__main__":
    main()
