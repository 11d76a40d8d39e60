"""The bare limit: an engine in a loop, with no queue, no store and no pipe around it.

`python -m genfarm_workers.benchmark.bare` answers `run` requests: it admits a
round's tasks and steps as fast as the engine can. Its models stay loaded.
"""

import argparse
import hashlib
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from genfarm_shared.kinds import batch_key, check_params, find_kind
from genfarm_shared.tasks import Claim
from genfarm_workers.benchmark.lines import answer_lines
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.encoding import encode
from genfarm_workers.engines import Engine, Output
from genfarm_workers.engines.registry import build


class Bare:
    """Engines by the key of their model."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._engines: dict[str, Engine] = {}

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run `tasks`, parameters each, on the registry entry `model`; one by one if `alone`."""
        entry = ModelEntry.model_validate(request["model"])
        engine = self._engines.get(entry.key) or self._load(entry)
        claims = [make_claim(entry, place, task) for place, task in enumerate(request["tasks"])]
        work = replace(engine.work)
        began, cpu = time.perf_counter(), time.process_time()
        if request.get("alone"):
            outputs = {key: out for c in claims for key, out in drive(engine, [c]).items()}
        else:
            outputs = drive(engine, claims)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        after = engine.work
        return {
            "seconds": seconds,
            "cpu_seconds": cpu,
            "failures": [o.failure.message for o in outputs.values() if o.failure is not None],
            "digests": [digest(outputs[claim.task_id]) for claim in claims],
            "output_tokens": sum(o.metrics.get("output_tokens", 0) for o in outputs.values()),
            "prompt_tokens": sum(o.metrics.get("prompt_tokens", 0) for o in outputs.values()),
            "work": {name: value - asdict(work)[name] for name, value in asdict(after).items()},
        }

    def _load(self, entry: ModelEntry) -> Engine:
        engine = build(entry, self._device)
        engine.load()
        self._engines[entry.key] = engine
        return engine


def drive(engine: Engine, claims: Sequence[Claim]) -> dict[str, Output]:
    """Admit what fits and step, until every task has ended."""
    waiting, outputs = deque(claims), dict[str, Output]()
    while len(outputs) < len(claims):
        fitting: list[Claim] = []
        free = engine.free_rows(waiting[0].batch_key) if waiting else 0
        while waiting and waiting[0].rows <= free:
            if fitting and waiting[0].batch_key != fitting[0].batch_key:
                break
            free -= waiting[0].rows
            fitting.append(waiting.popleft())
        if fitting:
            engine.admit(fitting)
        now = time.monotonic()
        wake = engine.wakes_at(now)
        if wake is None:
            raise RuntimeError("the engine holds nothing and owes outputs. This is a bug")
        time.sleep(max(wake - now, 0.0))
        outputs.update((output.task_id, output) for output in engine.step(time.monotonic()))
    return outputs


def make_claim(entry: ModelEntry, place: int, values: Mapping[str, Any]) -> Claim:
    """A claim as a worker would hold it for those parameters."""
    params = check_params(find_kind(entry.kind), values)
    key, checked = batch_key(entry.key, params), params.model_dump()
    of_job = (f"bare-{place}", "bare", 1, entry.kind, entry.key)
    return Claim(*of_job, key, params.rows(), checked, checked["seed"])


def digest(output: Output) -> str:
    """Equal for equal outputs: JSON and files. `benchmark/farm.py` makes it of the rows."""
    files = [hashlib.sha256(encode(media)[0]).hexdigest() for media in output.files]
    said = json.dumps([output.output, files], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def main() -> None:
    """Answer until the end of stdin."""
    parser = argparse.ArgumentParser(prog="genfarm_workers.benchmark.bare")
    parser.add_argument("--device", default="cpu")
    bare = Bare(parser.parse_args().device)
    answer_lines({"run": bare.run})


if __name__ == "__main__":
    main()
