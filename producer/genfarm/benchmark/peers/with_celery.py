"""Stock Celery's part in a benchmark, run by itself: `with_celery.py fill|work ...`.

    fill URL TOTAL SECONDS            queue that many tasks
    work URL POOL CONCURRENCY BACKEND run one worker; BACKEND is a URL or empty

Tuned for speed: no gossip, mingle, heartbeat, events or log lines, much is
prefetched. A task is acknowledged after it has run, as for whoever must lose
nothing. Imports nothing of the farm.
"""

import sys
import time

from celery import Celery

app = Celery("stock")
app.conf.update(
    task_acks_late=True,
    task_default_queue="bench",
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.pause")  # type: ignore[untyped-decorator]  # celery has no types
def pause(seconds: float) -> float:
    if seconds:
        time.sleep(seconds)
    return seconds


def fill(url: str, total: str, seconds: str) -> None:
    app.conf.broker_url = url
    with app.producer_or_acquire() as producer:
        for _ in range(int(total)):
            pause.apply_async((float(seconds),), producer=producer)


def work(url: str, pool: str, concurrency: str, backend: str) -> None:
    app.conf.update(broker_url=url, result_backend=backend or None, task_ignore_result=not backend)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    app.worker_main(["worker", "--pool", pool, "--concurrency", concurrency, *quiet])


if __name__ == "__main__":
    part, *words = sys.argv[1:]
    if part == "fill":
        fill(*words)
    else:
        work(*words)
