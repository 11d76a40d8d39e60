"""What a chain costs in time: three stages of 200 items beside the slowest of them alone.

Every stage has workers of its own, and the slowest has two, one of which is
killed half-way in the third arm and started anew, as a supervisor would.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from genfarm import Farm, Stage
from genfarm.chain import Chain
from genfarm_shared.measure import Arm, Part, Ratio, interleave
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State
from tests.servers import RedisServer
from tests.waiting import until
from tests.yard import Yard

ROUNDS = 3
ITEMS = 200
#: Model, seconds of a task, slots of a worker. The slowest stage takes 20 s, the others 10 s.
SHAPE = {"first": (0.4, 8), "slowest": (0.8, 4), "last": (0.4, 8)}
PATIENCE = 600.0


class _Bench:
    """A farm of four workers, and what is measured on it."""

    def __init__(self, yard: Yard, farm: Farm) -> None:
        self._yard = yard
        self._farm = farm
        self._runs = 0
        self.notes: list[str] = []
        self._pids = {name: [self._start(name)] for name in SHAPE}
        self._pids["slowest"].append(self._start("slowest"))

    def alone(self) -> float:
        """Items a second of the slowest stage."""
        began = time.time()
        items = [{"text": text, "seconds": SHAPE["slowest"][0]} for text in self._items()]
        job = self._farm.submit_many("drill", items, model="slowest")
        job.wait(PATIENCE)
        return self._rate(job.id, began)

    def chain(self, *, kill: bool) -> float:
        """Items a second of the whole chain."""
        began = time.time()
        stages = [
            Stage("drill", name=name, model=name, seconds=seconds)
            if name == "first"
            else Stage("drill", name=name, model=name, seconds=seconds, text="{answer}")
            for name, (seconds, _) in SHAPE.items()
        ]
        chain = self._farm.chain(stages, self._items())
        if kill:
            until(lambda: self._ended(chain, "last") >= ITEMS // 2, PATIENCE)
            os.kill(self._pids["slowest"].pop(0), signal.SIGKILL)
            self._pids["slowest"].append(self._start("slowest"))
        chain.wait(PATIENCE)
        self._note(chain, kill=kill)
        return self._rate(chain.stage("last").id, began)

    def _start(self, model: str) -> int:
        return self._yard.start_worker(model).pid

    def _items(self) -> list[str]:
        self._runs += 1
        return [f"run {self._runs}, item {number}" for number in range(ITEMS)]

    def _ended(self, chain: Chain, stage: str) -> int:
        return chain.stage(stage).status().counts[State.SUCCEEDED]

    def _note(self, chain: Chain, *, kill: bool) -> None:
        done = [self._ended(chain, name) for name in chain.stages]
        ids = [chain.stage(name).id for name in chain.stages]
        results = self._yard.store.count_results(ids)
        attempts = self._yard.store.count_attempts(ids)
        told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(attempts.items()))
        self.notes.append(
            f"{'a worker killed' if kill else 'whole'}: {done} succeeded of {ITEMS} a stage, "
            f"{results} results; attempts: {told}"
        )

    def _rate(self, job_id: str, began: float) -> float:
        last = self._yard.store.pace(job_id, 0.0).last_at
        assert last is not None
        return ITEMS / (last - began)


def measure() -> Iterator[Part]:
    """Items a second of the slowest stage alone, of the chain, and of the chain in trouble."""
    with _bench() as bench:
        arms = [
            Arm("slowest stage alone", bench.alone),
            Arm("chain", partial(bench.chain, kill=False)),
            Arm("chain, a worker killed", partial(bench.chain, kill=True)),
        ]
        alone, whole, killed = interleave(arms, ROUNDS)
        ratios = [
            Ratio(f"time of {arm.name} / {alone.name}", alone.median / arm.median, 1.3, True)
            for arm in (whole, killed)
        ]
        title = f"{ITEMS} items through {len(SHAPE)} stages"
        yield Part(title, "items/s", (alone, whole, killed), tuple(ratios), tuple(bench.notes))


@contextmanager
def _bench() -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory() as home, ExitStack() as doors:
        server = RedisServer(Path(home))
        doors.callback(server.stop)
        settings = Settings.load(home=home, broker=server.url)
        yard = Yard(settings, Path(home), stall_seconds=30.0)
        doors.callback(yard.close)
        models = [
            f'[models.{name}]\nkind = "drill"\nengine = "drill"\nslots = {slots}\n'
            for name, (_, slots) in SHAPE.items()
        ]
        Path(home, "models.toml").write_text("\n".join(models))
        farm = Farm(settings.store_url, settings.broker, settings.artifacts_url, progress=False)
        yield _Bench(yard, doors.enter_context(farm))
