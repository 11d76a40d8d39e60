"""Naive Celery: one task, one stock call, its result in Redis; the model stays loaded.

`python -m genfarm_workers.benchmark.naive` starts one worker of this very
module, which Celery loads as its application, and answers `run` requests;
`loop` makes the same calls here, with no Celery around them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from celery import Celery

from genfarm_workers.benchmark.lines import answer_lines
from genfarm_workers.benchmark.stock import StockCall, stock_call
from genfarm_workers.catalog import ModelEntry

#: Where Celery finds `app`, which it does not under the name that this runs by.
MODULE = "genfarm_workers.benchmark.naive"
#: Seconds that a round may take.
PATIENCE = 3600.0

app = Celery("naive", set_as_current=False)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, result_expires=3600)


@lru_cache(maxsize=2)
def _loaded(entry: str, device: str) -> StockCall:
    return stock_call(ModelEntry.model_validate_json(entry), device)


@app.task(name="generate")  # type: ignore[untyped-decorator]  # celery has no types
def generate(entry: str, device: str, params: dict[str, Any]) -> dict[str, Any]:
    """One task: its output, and when it began."""
    began = time.time()
    return {"began": began, **_loaded(entry, device)([params])[0]}


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Publish `tasks` one by one; seconds from the first start to the last result stored."""
    entry = json.dumps(request["model"])
    device = request.get("device", "cpu")
    sent = [generate.delay(entry, device, task) for task in request["tasks"]]
    began = [found.get(timeout=PATIENCE)["began"] for found in sent]
    ended = [_utc(found.date_done) for found in sent]
    for found in sent:
        found.forget()
    return {"seconds": max(ended) - min(began), "failures": []}


def loop(request: Mapping[str, Any]) -> dict[str, Any]:
    """The stock call on each of `tasks`, one after another: seconds for all."""
    call = _loaded(json.dumps(request["model"]), request.get("device", "cpu"))
    began = time.perf_counter()
    for task in request["tasks"]:
        call([task])
    return {"seconds": time.perf_counter() - began, "failures": []}


def _utc(moment: datetime | str) -> float:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


def main() -> None:
    """Start the worker, and answer until the end of stdin."""
    parser = argparse.ArgumentParser(prog="genfarm_workers.benchmark.naive")
    parser.add_argument("--broker", required=True, help="Redis, for the results too")
    given = parser.parse_args()
    app.conf.update(broker_url=given.broker, result_backend=given.broker)
    command = [sys.executable, "-m", "celery", "-A", MODULE, "-b", given.broker]
    command += ["--result-backend", given.broker, "worker", "--pool", "solo"]
    worker = subprocess.Popen(
        [*command, "--concurrency", "1", "--loglevel", "WARNING"],
        env={**os.environ},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )
    try:
        answer_lines({"run": run, "loop": loop})
    finally:
        worker.kill()  # it has nothing that anybody waits for
        worker.wait()


if __name__ == "__main__":
    main()
