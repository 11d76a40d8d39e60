"""`make bench`: what the farm costs, each figure beside another of the same run.

    python -m tests.bench publish       publishing against stock Celery
    python -m tests.bench bookkeeping   claim and commit in the store, each database
    python -m tests.bench recording     a farm that records against one that forgets

Prints medians, interleaved so that all arms see the same machine. Never
asserts: a speed is a figure, not a test.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genfarm.redis_server import prepare_server
from genfarm_shared.queue import Broker, make_app
from genfarm_shared.tasks import Hint
from tests import bench_bookkeeping, bench_recording

TASKS, ROUNDS = 10_000, 5


@contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as home:
        server = prepare_server(Path(home))
        process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
        try:
            yield server.url
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Run the parts named on the command line, or all."""
    parts = {"publish": publish, "bookkeeping": bench_bookkeeping.main}
    parts["recording"] = bench_recording.main
    for name in sys.argv[1:] or parts:
        sys.stdout.write(f"-- {name}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        parts[name]()


def publish() -> None:
    """Print tasks a second of both arms, and their ratio."""
    hints = [Hint(f"bench-{n}", "sleep", "sleep", "sleep", 1) for n in range(TASKS)]
    with _server() as url:
        broker, app = Broker(url), make_app(url, ["sleep"], worker_id="bench")

        @app.task(name="bench")  # type: ignore[untyped-decorator]  # celery has no types
        def task() -> None: ...

        def stock() -> None:
            for _ in range(TASKS // 10):
                task.apply_async(queue="model.sleep")

        arms: dict[str, Callable[[], None]] = {
            "stock": stock,
            "farm": lambda: broker.publish(hints),
        }
        numbers = {"stock": TASKS // 10, "farm": TASKS}
        rates: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(ROUNDS):
            for name, arm in arms.items():
                began = time.perf_counter()
                arm()
                rates[name].append(numbers[name] / (time.perf_counter() - began))
    median = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        sys.stdout.write(f"{name:6} {median[name]:>9,.0f} tasks/s   ({spread})\n")
    sys.stdout.write(f"farm / stock: {median['farm'] / median['stock']:.1f}\n")


if __name__ == "__main__":
    main()
