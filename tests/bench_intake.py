"""`python -m tests.bench_intake`: no-op tasks through one worker, the farm's against stock Celery.

The farm's arm is the whole way: taken, claimed, through the engine process,
each result recorded in SQLite. The stock arm keeps no result. Both wait in
Redis before their worker starts, and are timed from the first taken to the
last recorded or let go. Prints medians and their ratio; never asserts.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from celery import Celery

from genfarm.benchmark.places import own_redis
from genfarm_shared.settings import Settings
from tests.waiting import until
from tests.yard import Yard

ROUNDS = 3
#: Seconds that a round may take.
PATIENCE = 600.0
STOCK_TASKS, FARM_TASKS = 2_000, 5_000

#: The stock arm's application; Celery finds it by this module's name.
stock = Celery("stock", broker=os.environ.get("BENCH_BROKER"), set_as_current=False)
stock.conf.update(task_acks_late=True, task_ignore_result=True, worker_pool="threads")


@stock.task(name="noop")  # type: ignore[untyped-decorator]  # celery has no types
def noop() -> None: ...


def drain_stock(url: str) -> float:
    """Tasks a second of a stock worker."""
    stock.conf.broker_url = url
    with stock.producer_or_acquire() as producer:
        for _ in range(STOCK_TASKS):
            noop.apply_async(producer=producer)
    command = [sys.executable, "-m", "celery", "-A", "tests.bench_intake:stock", "worker"]
    worker = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle"],
        env={**os.environ, "BENCH_BROKER": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with redis.Redis.from_url(url) as client:
            until(lambda: client.llen("celery") < STOCK_TASKS, PATIENCE)
            began, left = time.perf_counter(), client.llen("celery")
            until(lambda: not client.exists("celery", "unacked"), PATIENCE)
            return float(left) / (time.perf_counter() - began)
    finally:
        worker.terminate()
        worker.wait()


def drain_farm(url: str) -> float:
    """Tasks a second of a farm's worker."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load(broker=url, home=Path(home), window=FARM_TASKS)
        yard = Yard(settings, Path(home))
        try:
            job = yard.submit("sleep", *[0.0] * FARM_TASKS)
            yard.start_worker("sleep")
            until(lambda: yard.finished(job), PATIENCE)
            records = yard.store.read_after(job, -1, FARM_TASKS)
            began = min(record.claimed_at or 0.0 for record in records)
            ended = max(record.finished_at or 0.0 for record in records)
            return FARM_TASKS / (ended - began)
        finally:
            yard.close()


def main() -> None:
    """Run both arms in turn."""
    rates: dict[str, list[float]] = {"stock": [], "farm": []}
    for _ in range(ROUNDS):
        for name, arm in (("stock", drain_stock), ("farm", drain_farm)):
            with own_redis() as url:
                rates[name].append(arm(url))
    median = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        sys.stdout.write(f"{name:6} {median[name]:>9,.0f} tasks/s   ({spread})\n")
    sys.stdout.write(f"farm / stock: {median['farm'] / median['stock']:.1f}\n")


if __name__ == "__main__":
    main()
