"""Four models in memory for two: what turning to models by cost saves.

    python -m genfarm_workers.benchmark.residency [--rounds N] [--quick]

A backlog of tasks of four random GPT-2 in random order, run by real engine processes with
room for two of the models. Every arm runs the same tasks, or fewer of them. No queue and
no store: lists stand for the queues, and the worker's own batcher and residency decide what to
take from them.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import psutil

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave
from genfarm_shared.tasks import Claim, Hint
from genfarm_workers.batcher import Batcher
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.device import Prober, pin
from genfarm_workers.engines.memory import device_bytes
from genfarm_workers.host import EngineHost
from genfarm_workers.residency import Outlook, Residency
from genfarm_workers.sizes import weigh

MODELS, FIT, SLOTS = 4, 2, 16
#: One task in so many is enough for an arm that reloads for nearly each of them: its rate does
#: not depend on how many there are.
FEWER = 8
#: Seconds between two looks at the queues: a worker looks after each beat.
LOOK = 0.5
SEED = 7

#: Runs all tasks through an engine.
Way = Callable[["Engine", Sequence[Claim]], None]


class Engine:
    """One engine process with a budget, and what the worker knows of it."""

    def __init__(self, catalog: dict[str, ModelEntry], fit: int) -> None:
        sizes = {m: weigh(e, Path(e.source), "cpu") or 0 for m, e in catalog.items()}
        budget = max(sizes.values()) * fit + 1
        self.residency = Residency(sizes, budget)
        place = pin("cpu", 1)
        self.host = EngineHost(place, catalog, Bench(), Prober(place, 60.0), self.residency, budget)
        self.host.start()

    def run(self, claims: Sequence[Claim]) -> None:
        """Run them together and to their end."""
        self.host.submit(claims)
        left = len(claims)
        while left:
            left -= self.collect()

    def collect(self) -> int:
        """Wait for a moment; returns how many tasks ended."""
        ended = self.host.receive(0.05)
        if ended is None:
            raise RuntimeError(f"the engine ended: {self.host.bury().reason}")
        failed = next((one.output.failure for one in ended if one.output.failure), None)
        if failed is not None:
            raise RuntimeError(f"a task failed: {failed.message}")
        return len(ended)

    def loads(self) -> int:
        return int(self.residency.report()["loads"])

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.host.report()["engine_pid"]).cpu_times()
        return float(times.user + times.system)


def in_order(engine: Engine, claims: Sequence[Claim]) -> None:
    """As they came, together only where one model's tasks stand beside each other."""
    for _, together in groupby(claims, key=lambda claim: claim.model):
        engine.run(list(together))


def in_windows(engine: Engine, claims: Sequence[Claim]) -> None:
    """As they came, one load for each model at a time, sorted by model."""
    for start in range(0, len(claims), SLOTS * MODELS):
        window = claims[start : start + SLOTS * MODELS]
        in_order(engine, sorted(window, key=lambda claim: claim.model))


def by_cost(engine: Engine, claims: Sequence[Claim]) -> None:
    """As a worker does, with lists for the queues."""
    queues: dict[str, deque[Claim]] = {}
    for claim in claims:
        queues.setdefault(claim.model, deque()).append(claim)
    batcher, residency = Batcher(engine.host.slots()), engine.residency
    by_id, ended, looked_at = {claim.task_id: claim for claim in claims}, 0, 0.0
    while ended < len(claims):
        for hint in batcher.shed(lambda model: not residency.is_open(model)):
            queues[hint.model].appendleft(by_id[hint.task_id])
        for model, queue in queues.items():
            _take(engine, batcher, model, queue)
        now = time.monotonic()
        if now - looked_at >= LOOK:
            at_work = {*batcher.rows_waiting(), *engine.host.rows_in_hand()}
            residency.look(Outlook({m: len(q) for m, q in queues.items()}), at_work)
            looked_at = now
        while (batch := batcher.next_batch(engine.host.rows_in_hand(), now)) is not None:
            engine.host.submit([by_id[hint.task_id] for hint in batch.hints])
        ended += engine.collect()


def _take(engine: Engine, batcher: Batcher, model: str, queue: deque[Claim]) -> None:
    def is_idle() -> bool:
        return not (batcher.waiting() or engine.host.is_busy())

    for _ in range(min(engine.residency.allow(model, batcher.room(model), is_idle), len(queue))):
        claim = queue.popleft()
        engine.residency.arrive(model)
        hint = Hint(claim.task_id, claim.kind, model, claim.batch_key, claim.rows)
        batcher.admit(hint, time.monotonic())


#: By name: how many models fit, how tasks are run, and that one in so many of them is.
ARMS: dict[str, tuple[int, Way, int]] = {
    "genfarm": (FIT, by_cost, 1),
    "in order of arrival": (FIT, in_order, FEWER),
    "in windows, by model": (FIT, in_windows, 1),
    "all held (the limit)": (MODELS, by_cost, 1),
}


class Contest:
    """The arms; those with the same memory share an engine process."""

    def __init__(self, catalog: dict[str, ModelEntry], tasks: int, new_tokens: int) -> None:
        self._catalog = catalog
        self._tasks = tasks
        self._new_tokens = new_tokens
        self._engines = {fit: Engine(catalog, fit) for fit in (FIT, MODELS)}
        #: By arm, of each run: loads, and tasks a CPU-second of its engine process.
        self.loads: dict[str, list[int]] = {name: [] for name in ARMS}
        self.cpu_rates: dict[str, list[float]] = {name: [] for name in ARMS}
        for engine in self._engines.values():  # which imports libraries, and learns of costs
            in_order(engine, self._claims(1))

    def arms(self) -> list[Arm]:
        return [Arm(name, lambda name=name: self._measure(name)) for name in ARMS]  # type: ignore[misc]

    def close(self) -> None:
        for engine in self._engines.values():
            engine.host.stop()

    def _measure(self, name: str) -> float:
        fit, way, part = ARMS[name]
        engine, claims = self._engines[fit], self._claims(max(1, self._tasks // part))
        loads, cpu, began = engine.loads(), engine.cpu_seconds(), time.monotonic()
        way(engine, claims)
        seconds = time.monotonic() - began
        self.loads[name].append(engine.loads() - loads)
        self.cpu_rates[name].append(len(claims) / (engine.cpu_seconds() - cpu))
        return len(claims) / seconds

    def _claims(self, each: int) -> list[Claim]:
        """So many tasks of each model, in an order that is the same for every arm."""
        models = [model for model in self._catalog for _ in range(each)]
        random.Random(SEED).shuffle(models)  # noqa: S311
        return [self._claim(place, model) for place, model in enumerate(models)]

    def _claim(self, place: int, model: str) -> Claim:
        kind = find_kind("text-generation")
        values = {"prompt": "Once upon a time", "max_new_tokens": self._new_tokens}
        params = check_params(kind, values)
        key = batch_key(model, params)
        return Claim(f"t{place}", "bench", 1, kind.name, model, key, 1, params.model_dump(), place)


def make_models(folder: Path, width: int, layers: int) -> dict[str, ModelEntry]:
    """Random GPT-2 of bytes, and their entries."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    size = {"n_embd": width, "n_layer": layers, "n_head": width // 32, "n_positions": 128}
    config = GPT2Config(vocab_size=len(letters), bos_token_id=0, eos_token_id=None, **size)
    catalog = {}
    for number in range(MODELS):
        torch.manual_seed(number)
        place = folder / f"m{number}"
        GPT2LMHeadModel(config).save_pretrained(place)
        PreTrainedTokenizerFast(tokenizer_object=bpe).save_pretrained(place)
        catalog[place.name] = ModelEntry(
            key=place.name,
            kind="text-generation",
            engine="text",
            source=str(place),
            dtype="float32",
            slots=SLOTS,
        )
    return catalog


def _parts(contest: Contest, rates: Sequence[Measured], notes: tuple[str, ...]) -> list[Part]:
    cpu = [Measured(name, tuple(values)) for name, values in contest.cpu_rates.items()]
    counted = [
        f"{name}: {statistics.median(n):g} loads a round" for name, n in contest.loads.items()
    ]
    title = f"A mixed backlog of {MODELS} models, memory for {FIT}"
    parts = []
    for unit, arms in (("tasks/s", rates), ("tasks per CPU-second of the engine", cpu)):
        medians = {arm.name: arm.median for arm in arms}
        ours, *others = ARMS
        ratios = tuple(Ratio(f"{ours} / {name}", medians[ours] / medians[name]) for name in others)
        parts.append(Part(title, unit, tuple(arms), ratios, (*notes, *counted)))
    return parts


def main() -> None:
    """Print the report as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each arm")
    parser.add_argument("--quick", action="store_true", help="tiny models, few tasks")
    chosen = parser.parse_args()
    width, layers, tasks, tokens = (64, 2, 6, 4) if chosen.quick else (512, 8, 48, 16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        catalog = make_models(folder, width, layers)
        contest = Contest(catalog, tasks, tokens)
        stack.callback(contest.close)
        rates = interleave(contest.arms(), chosen.rounds, _tell)
        size = weigh(catalog["m0"], Path(catalog["m0"].source), "cpu") or 0
        notes = (
            f"in order of arrival: one task in {FEWER}, for its rate does not depend on how many",
            f"{tasks} tasks a model of {tokens} new tokens, batches of {SLOTS}",
            f"each model {size / 1e6:.0f} MB, of {device_bytes('cpu') / 1e9:.0f} GB in all",
        )
        parts = _parts(contest, rates, notes)
    question = "What does turning to models by cost save where they do not all fit?"
    report = Report("residency", question, tuple(parts))
    sys.stdout.write(json.dumps(report.to_json()) + "\n")


def _tell(done: int, of: int, arm: str) -> None:
    sys.stderr.write(f"{done}/{of} {arm}\n")


if __name__ == "__main__":
    main()
