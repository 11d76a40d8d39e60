"""What it costs to hand work over: rows committed and messages sent, against stock Celery.

    python -m genfarm.benchmark.publish [--rounds N] [--quick]

Bare Redis is a raw pipeline of the same bytes, which keeps nothing: one command
a message, and the limit, as many in a command as we send. Prints one JSON
object (`measure.Report`); words for people go to stderr.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from celery import Celery, group

from genfarm import Farm
from genfarm.benchmark.places import NO_POSTGRES, announce, own_postgres, own_redis
from genfarm_shared.measure import Arm, Part, Ratio, Report, interleave
from genfarm_shared.queue import Broker, list_key
from genfarm_shared.tasks import Hint

KIND = "text-generation"
#: Stock Celery takes half a minute for all of them; its rate is that of a tenth.
STOCK_SHARE = 10
#: Messages of a command in the faster of the two raw pipelines.
TOGETHER = 1000
#: What one message may take in Redis, bytes.
MOST_BYTES = 1200
#: What a producer may grow by, MB.
MOST_GROWTH = 50
STOCK, RAW, OURS = "celery apply_async", "raw pipeline", "genfarm submit_many"
PACKED, ALONE = f"{RAW}, {TOGETHER} a command", "genfarm publish"
OURS_POSTGRES = f"{OURS}, PostgreSQL"


def main() -> None:
    """Measure, and print the report."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--quick", action="store_true")
    given = asked.parse_args()
    total, streamed = (1_000, 10_000) if given.quick else (10_000, 1_000_000)
    with ExitStack() as doors:
        places = doors.enter_context(tempfile.TemporaryDirectory())
        url = doors.enter_context(own_redis())
        database = None if given.quick else doors.enter_context(own_postgres())
        bench = Bench(Path(places), url, total)
        rate = measure_rate(bench, given.rounds, database)
        parts = (rate, measure_memory(bench, streamed))
    question = "what do rows committed and messages sent cost, beside stock Celery and bare Redis?"
    json.dump(Report("publish", question, parts).to_json(), sys.stdout)


class Bench:
    """The arms, each on an empty Redis."""

    def __init__(self, home: Path, url: str, total: int) -> None:
        self.home, self.url, self.total = home, url, total
        self.redis = redis.Redis.from_url(url)
        self.broker = Broker(url)
        self.prompts = [f"Once upon a time there was a fox in wood {n}" for n in range(total)]
        self.hints = [Hint(f"job_19aab3c4d5e6f7a8b-{n}", KIND, KIND, KIND, 1) for n in range(total)]
        self.broker.publish(self.hints)
        self.messages: Sequence[Any] = self.redis.lrange(list_key(KIND, 0), 0, -1)
        self.seed = 0
        self.empty = home / "empty.db"
        announce(f"sqlite:///{self.empty}")
        self.task: Any = _stock_task(url)

    def arm(self, name: str, work: Callable[[], object], number: int | None = None) -> Arm:
        """One that does so many tasks, all of them unless told otherwise."""
        count = self.total if number is None else number

        def run() -> float:
            self.redis.flushall()
            began = time.perf_counter()
            work()
            return count / (time.perf_counter() - began)

        return Arm(name, run)

    def apply(self) -> None:
        """Celery's way for one, in a loop."""
        for prompt in self.prompts[: self.total // STOCK_SHARE]:
            self.task.apply_async((prompt,))

    def apply_group(self) -> None:
        """Celery's way for many."""
        some = self.prompts[: self.total // STOCK_SHARE]
        group([self.task.s(prompt) for prompt in some]).apply_async()

    def pipe(self, together: int) -> None:
        """The farm's own bytes through one pipeline, so many in a command."""
        pipeline = self.redis.pipeline(transaction=False)
        for start in range(0, self.total, together):
            pipeline.lpush("raw", *self.messages[start : start + together])
        pipeline.execute()

    def submit(self, farm: Farm) -> str:
        """Everything: checks, rows, messages. Returns the job's id."""
        self.seed += self.total  # other content than before, or it would be the same job
        return farm.submit_many(KIND, self.prompts, params={"seed": self.seed}).id

    def submit_arm(self, name: str, open_farm: Callable[[], Farm]) -> Arm:
        """Into a farm where nothing is open; counts rows and messages afterwards."""

        def run() -> float:
            with open_farm() as farm:
                self.redis.flushall()
                farm.stats()  # connects
                began = time.perf_counter()
                job_id = self.submit(farm)
                seconds = time.perf_counter() - began
                job = farm.job(job_id)
                rows = sum(job.status().counts.values())
                sent = self.redis.llen(list_key(KIND, 0))
                if (rows, sent) != (self.total, self.total):
                    raise SystemExit(f"{rows} rows and {sent} messages of {self.total} tasks")
                job.cancel()
            return self.total / seconds

        return Arm(name, run)

    def fresh_farm(self) -> Farm:
        """On a new SQLite file."""
        place = self.home / "farm.db"
        for old in self.home.glob("farm.db*"):
            old.unlink()
        shutil.copy(self.empty, place)
        return Farm(f"sqlite:///{place}", self.url, str(self.home / "artifacts"), progress=False)


def measure_rate(bench: Bench, rounds: int, database: str | None) -> Part:
    """Tasks a second of every way to hand them over."""
    stock = bench.total // STOCK_SHARE
    arms = [
        bench.arm(STOCK, bench.apply, stock),
        bench.arm("celery group", bench.apply_group, stock),
        bench.arm(RAW, lambda: bench.pipe(1)),
        bench.arm(PACKED, lambda: bench.pipe(TOGETHER)),
        bench.arm(ALONE, lambda: bench.broker.publish(bench.hints)),
        bench.submit_arm(OURS, bench.fresh_farm),
    ]
    if database is not None:
        announce(database)
        place = str(bench.home / "artifacts")
        farm = lambda: Farm(database, bench.url, place, progress=False)  # noqa: E731
        arms.append(bench.submit_arm(OURS_POSTGRES, farm))
    title = f"{bench.total:,} tasks handed over"
    part = Part(title, "tasks/s", interleave(arms, rounds, _tell))
    notes = (
        f"stock Celery's rate is that of {stock:,} tasks; it keeps no row, nor do the pipelines",
        f"a message is {len(bench.messages[0])} bytes long; {RAW}: one command each, which is what "
        "handing over the same messages one by one comes to, and what the goal is held against",
        f"{ALONE} and {PACKED}: many messages in a command; this pipeline is the limit",
    )
    missing = (NO_POSTGRES,) if database is None else ()
    return Part(title, part.unit, part.arms, tuple(compare_rates(part)), notes + missing)


def compare_rates(part: Part) -> Iterator[Ratio]:
    """Whole submissions, and messages alone, beside stock Celery and both raw pipelines."""
    for ours, over_stock, over_raw in ((OURS, 20.0, 0.3), (ALONE, None, None)):
        for other, goal in ((STOCK, over_stock), (RAW, over_raw), (PACKED, None)):
            yield Ratio(f"{ours} / {other}", part.median(ours) / part.median(other), goal)
    if part.has(OURS_POSTGRES):
        there = part.median(OURS_POSTGRES)
        yield Ratio(f"{OURS_POSTGRES} / {STOCK}", there / part.median(STOCK))


def measure_memory(bench: Bench, number: int) -> Part:
    """What a producer of many inputs and a Redis full of tasks hold."""
    ratios = [
        Ratio(f"bytes of Redis per {kind} task", _bytes_per_task(bench, kind), MOST_BYTES, True)
        for kind in ("text-generation", "text-to-image")
    ]
    plain, named = _stream(bench, number), _stream(bench, number, "--ids")
    grown = f"MB that the producer of {number:,} inputs grows by"
    ratios += [
        Ratio(grown, plain["growth_mb"], MOST_GROWTH, True),
        Ratio(f"{grown}, custom_ids given", named["growth_mb"], MOST_GROWTH, True),
        Ratio("MB at most that Python allocates", _traced(bench, number), MOST_GROWTH, True),
    ]
    arms = [
        Arm("from a generator", lambda: float(plain["rate"])),
        Arm("from a generator, custom_ids given", lambda: float(named["rate"])),
    ]
    note = f"what Python allocates was traced over {number // 10:,} inputs: tracing is slow"
    return Part("what is held", "tasks/s", interleave(arms, 1), tuple(ratios), (note,))


def _traced(bench: Bench, number: int) -> float:
    return float(_stream(bench, number // 10, "--trace")["traced_mb"])


def _bytes_per_task(bench: Bench, kind: str) -> float:
    """By the server's own count of what it uses, before and after."""
    server: Any = bench.redis  # whose types lack this command's
    server.execute_command("FLUSHALL", "SYNC")  # the other way frees it later
    before = bench.redis.info("memory")["used_memory"]
    with bench.fresh_farm() as farm:
        farm.submit_many(kind, bench.prompts)
    after = bench.redis.info("memory")["used_memory"]
    return float(after - before) / bench.total


def _stream(bench: Bench, number: int, *options: str) -> dict[str, Any]:
    bench.redis.flushall()
    bench.fresh_farm().close()
    store = f"sqlite:///{bench.home / 'farm.db'}"
    program = [sys.executable, "-m", "genfarm.benchmark.stream", store, bench.url, str(number)]
    done = subprocess.run([*program, *options], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    sys.stderr.write(f"{number:,} from a generator {' '.join(options)}: {found}\n")
    return found


def _stock_task(url: str) -> Any:
    app = Celery("stock", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True

    @app.task(name="stock")  # type: ignore[untyped-decorator]  # celery has no types
    def task(prompt: str) -> None: ...

    return task


def _tell(done: int, of: int, arm: str) -> None:
    sys.stderr.write(f"{done} of {of}: {arm}\n")


if __name__ == "__main__":
    main()
