"""The engine process: over a real socket pair, and in a thread with a fake engine."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine, Output
from genfarm_workers.engines.busy import BusyEngine
from genfarm_workers.engines.sleep import SleepEngine
from genfarm_workers.loop import Loop
from genfarm_workers.pipe import Pipe
from genfarm_workers.shelf import Budget

from .fakes import Claimer, FakeEngine
from .test_shelf import write_head

Entry = Callable[..., ModelEntry]


class Worker:
    """The worker's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self.pipe = Pipe(connection)
        self.seen: list[str] = []

    def outputs(self, count: int) -> dict[str, Output]:
        outputs: dict[str, Output] = {}
        while len(outputs) < count:
            message = self.next()
            if message["op"] == "outputs":
                outputs.update((output.task_id, output) for output in message["outputs"])
        return outputs

    def wait_for(self, op: str) -> dict[str, Any]:
        while (message := self.next())["op"] != op:
            pass
        return message

    def next(self) -> dict[str, Any]:
        message = self.pipe.receive(30.0)
        assert message is not None, "the engine process is silent"
        self.seen.append(message["op"])
        return message


def connections() -> tuple[Connection, Connection]:
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), Connection(theirs.detach())


@pytest.fixture
def process(entry: Entry) -> Iterator[tuple[Worker, subprocess.Popen[bytes]]]:
    catalog = {
        "sleep": entry("sleep", "sleep", "sleep", slots=64),
        "gone": entry("gone", "text-generation", "text", source="/nowhere/gone"),
    }
    text = json.dumps({key: model.model_dump() for key, model in catalog.items()})
    ours, theirs = connections()
    command = [sys.executable, "-m", "genfarm_workers.loop", "--fd", str(theirs.fileno())]
    command += ["--device", "cpu", "--catalog", text, "--threads", "1"]
    child = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    worker = Worker(ours)
    assert worker.wait_for("ready")["pid"] == child.pid
    yield worker, child
    worker.pipe.close()
    assert child.wait(10) == 0


@contextmanager
def looping(
    engine_of: Callable[..., Engine], *keys: ModelEntry, budget: Budget | None = None
) -> Iterator[Worker]:
    ours, theirs = connections()
    pipe = Pipe(theirs)
    loop = Loop(pipe, {entry.key: entry for entry in keys}, engine_of, budget=budget)
    thread = threading.Thread(target=loop.run)
    thread.start()
    worker = Worker(ours)
    yield worker
    worker.pipe.send({"op": "stop"})
    thread.join(10)
    assert not thread.is_alive()
    pipe.close()
    worker.pipe.close()


def test_sleepers_run_together_and_the_end_of_the_pipe_ends_the_process(
    process: tuple[Worker, subprocess.Popen[bytes]], claim: Claimer
) -> None:
    worker, _ = process
    claims = [claim(f"s{i}", "sleep", "sleep", seconds=0.3) for i in range(50)]
    worker.pipe.send_claims(claims)
    outputs = worker.outputs(50)
    assert outputs["s7"].output == {"slept_seconds": 0.3}
    assert outputs["s7"].metrics["batch_size"] == 50
    assert 0.3 <= outputs["s7"].metrics["engine_seconds"] < 5
    assert worker.seen.index("loading") < worker.seen.index("loaded")


def test_a_dropped_task_never_comes_back_and_waiting_is_a_sign_of_life(
    process: tuple[Worker, subprocess.Popen[bytes]], claim: Claimer
) -> None:
    worker, _ = process
    worker.pipe.send_claims([claim("gone", "sleep", "sleep", seconds=0.6)])
    worker.pipe.send_claims([claim("kept", "sleep", "sleep", seconds=1.2)])
    worker.wait_for("loaded")
    worker.pipe.send({"op": "drop", "task_ids": ["gone"]})
    assert list(worker.outputs(1)) == ["kept"]
    assert "alive" in worker.seen


def test_steps_of_no_time_share_a_message_and_the_last_do_not_wait_for_more(
    entry: Entry, claim: Claimer
) -> None:
    ours, theirs = connections()
    model = entry("busy", "drill", "busy", slots=64)
    loop = Loop(Pipe(theirs), {"busy": model}, lambda key, _: BusyEngine(key), clock=lambda: 0.0)
    thread = threading.Thread(target=loop.run)
    thread.start()
    worker, sizes = Worker(ours), list[int]()
    worker.pipe.send_claims([claim(f"t{i}", "drill", "busy", seconds=0.0) for i in range(40)])
    while sum(sizes) < 40:
        message = worker.next()
        sizes += [len(message["outputs"])] if message["op"] == "outputs" else []
    worker.pipe.send({"op": "stop"})
    thread.join(10)
    assert sizes == [16, 16, 8]
    worker.pipe.close()


def test_a_refusal_is_told_before_any_step(entry: Entry, claim: Claimer) -> None:
    ours, theirs = connections()
    model = entry("busy", "drill", "busy", slots=64)
    loop = Loop(Pipe(theirs), {"busy": model}, lambda key, _: BusyEngine(key), clock=lambda: 0.0)
    thread = threading.Thread(target=loop.run)
    thread.start()
    worker = Worker(ours)
    known = [claim(f"t{i}", "drill", "busy", seconds=0.0) for i in range(3)]
    worker.pipe.send_claims([claim("first", "drill", "busy", seconds=0.0)])
    worker.outputs(1)
    worker.pipe.send_claims([*known, replace(known[0], task_id="bad", model="unknown")])
    messages = [worker.wait_for("outputs")["outputs"] for _ in range(2)]
    worker.pipe.send({"op": "stop"})
    thread.join(10)
    assert [[one.task_id for one in told] for told in messages] == [["bad"], ["t0", "t1", "t2"]]
    worker.pipe.close()


def test_what_only_a_newer_genfarm_knows_is_left_to_a_newer_worker(
    process: tuple[Worker, subprocess.Popen[bytes]], claim: Claimer
) -> None:
    """And the refusal says so; what both know and is wrong fails for good."""
    worker, _ = process
    known = claim("a", "sleep", "sleep", seconds=0.0)
    worker.pipe.send_claims([replace(known, task_id="b", params={"seconds": 0.0, "novel": 1})])
    worker.pipe.send_claims([replace(known, task_id="c", kind="to-smell")])
    worker.pipe.send_claims([replace(known, task_id="d", params={"seconds": -1.0})])
    failures = {name: output.failure for name, output in worker.outputs(3).items()}
    assert {name: failure.retryable for name, failure in failures.items() if failure} == {
        "b": True,
        "c": True,
        "d": False,
    }
    for name in "bc":
        assert "this worker runs genfarm" in failures[name].message  # type: ignore[union-attr]


def test_a_model_that_cannot_load_fails_its_tasks_and_no_others(
    process: tuple[Worker, subprocess.Popen[bytes]], claim: Claimer
) -> None:
    worker, _ = process
    lost = [claim(f"t{i}", "text-generation", "gone", prompt="x") for i in range(100)]
    worker.pipe.send_claims([*lost, claim("s", "sleep", "sleep", seconds=0.0)])
    outputs = worker.outputs(101)
    failures = [outputs[one.task_id].failure for one in lost]
    assert {failure.code for failure in failures if failure} == {"model_unavailable"}
    assert "/nowhere/gone" in failures[0].message  # type: ignore[union-attr]
    assert outputs["s"].failure is None
    assert worker.seen.count("loading") == 2


@pytest.mark.parametrize("error", [ModelUnavailable("no files"), SystemExit(3), OSError("x")])
def test_a_failed_load_is_tried_again_when_the_worker_asks(
    entry: Entry, claim: Claimer, error: BaseException
) -> None:
    def refuse(entry: ModelEntry, tick: object) -> Engine:
        raise error

    with looping(refuse, entry("m", "text-to-image", "image")) as worker:
        for name in "abc":
            worker.pipe.send_claims([claim(name, "text-to-image", "m", prompt="x")])
        worker.outputs(3)
        worker.pipe.send({"op": "reload", "model": "m"})
        worker.pipe.send_claims([claim("d", "text-to-image", "m", prompt="x")])
        worker.outputs(1)
    assert (worker.seen.count("loading"), worker.seen.count("unloadable")) == (2, 2)


def test_claims_are_checked_again(entry: Entry, claim: Claimer) -> None:
    seen: list[Claim] = []

    class Noting(FakeEngine):
        def admit(self, claims: Sequence[Claim]) -> None:
            seen.extend(claims)
            super().admit(claims)

    good = claim("good", "text-to-image", "m", prompt="x", n=2, steps=3)
    bad = [
        replace(good, task_id="long", params={**good.params, "steps": 10_000}),
        replace(good, task_id="kind", kind="sleep", params={"seconds": 1.0}),
        replace(good, task_id="model", model="other"),
    ]
    forged = replace(good, task_id="forged", batch_key="m|||", rows=1)
    with looping(lambda *_: Noting(), entry("m", "text-to-image", "image")) as worker:
        worker.pipe.send_claims([*bad, forged, good])
        outputs = worker.outputs(5)
    codes = [outputs[name].failure.code for name in ("long", "kind", "model")]  # type: ignore[union-attr]
    assert codes == ["invalid_params", "invalid_params", "model_unavailable"]
    assert {(one.batch_key, one.rows) for one in seen} == {(good.batch_key, 2)}


def test_a_raising_engine_fails_only_the_poison(entry: Entry, claim: Claimer) -> None:
    engine = FakeEngine()
    engine.poison = {"b"}
    with looping(lambda *_: engine, entry("m", "text-to-image", "image")) as worker:
        worker.pipe.send_claims([claim(n, "text-to-image", "m", prompt="secret") for n in "abc"])
        outputs = worker.outputs(3)
    assert [name for name in "abc" if outputs[name].failure] == ["b"]


def test_a_drop_within_a_long_step_takes_effect_at_the_tick(entry: Entry, claim: Claimer) -> None:
    class Ticking(FakeEngine):
        def __init__(self, tick: Callable[[], None]) -> None:
            super().__init__()
            self.tick = tick

        def step(self, now: float) -> list[Output]:
            while "long" in self.held:
                self.tick()
            return super().step(now)

    with looping(lambda _, tick: Ticking(tick), entry("m", "text-to-image", "image")) as worker:
        worker.pipe.send_claims([claim("long", "text-to-image", "m", prompt="x")])
        worker.wait_for("loaded")
        worker.pipe.send_claims([claim("next", "text-to-image", "m", prompt="x")])
        worker.pipe.send({"op": "drop", "task_ids": ["long"]})
        assert list(worker.outputs(1)) == ["next"]


def test_a_model_whose_waiting_tasks_were_dropped_is_not_loaded(
    entry: Entry, claim: Claimer, tmp_path: Path
) -> None:
    """And where others of its tasks come before it has room, that is said again."""
    for key in "ab":
        write_head(tmp_path / key, 600)
    models = [entry(key, "sleep", "sleep", source=str(tmp_path / key)) for key in "ab"]
    long = [claim(f"of {key}", "sleep", key, seconds=60.0) for key in "ab"]
    short = [claim(f"short {number}", "sleep", "a", seconds=0.0) for number in range(2)]
    with looping(lambda e, _: SleepEngine(e), *models, budget=Budget(given=1000)) as worker:
        worker.pipe.send_claims(long)
        worker.wait_for("wanting")
        worker.pipe.send({"op": "drop", "task_ids": ["of b"]})
        worker.pipe.send_claims([replace(long[1], task_id="next"), short[0]])
        worker.outputs(1)
        worker.pipe.send({"op": "drop", "task_ids": ["next", "of a"]})
        worker.pipe.send_claims(short[1:])
        worker.outputs(1)
    assert (worker.seen.count("wanting"), worker.seen.count("loading")) == (2, 1)


def test_the_end_of_the_pipe_within_a_long_step_ends_the_loop(entry: Entry, claim: Claimer) -> None:
    class Endless(FakeEngine):
        def __init__(self, tick: Callable[[], None]) -> None:
            super().__init__()
            self.tick = tick

        def step(self, now: float) -> list[Output]:
            while True:
                self.tick()

    ours, theirs = connections()
    model = entry("m", "text-to-image", "image")
    loop = Loop(Pipe(theirs), {"m": model}, lambda _, tick: Endless(tick))
    thread = threading.Thread(target=loop.run)
    thread.start()
    worker = Worker(ours)
    worker.pipe.send_claims([claim("t", "text-to-image", "m", prompt="x")])
    worker.wait_for("loaded")
    worker.pipe.close()
    thread.join(10)
    assert not thread.is_alive()
    theirs.close()
