"""How long the farm takes to mend what was broken: `python -m tests.recovery [name ...]`.

    worker    SIGKILL of a worker, to the first redo of one of its tasks
    remote    the same, seen from another machine, which has only the lease to go by
    engine    SIGKILL of an engine process alone
    frozen    SIGSTOP, a message sent, SIGKILL: is any message lost?
    flush     FLUSHALL with 10,000 queued, until every hint is back
    outage    Redis away for 45 s, until the first task after its return
    stalls    10 s database lock, 15 s GIL hold, 8 s Redis stall: is anybody taken for dead?

With the settings a farm has by default. Prints seconds, and asserts only what must not happen.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis

from genfarm_shared.queue import PREFIX
from genfarm_shared.schema import attempts, tasks, workers
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State, WorkerRecord
from tests.servers import RedisServer
from tests.waiting import until
from tests.yard import Yard

TIMES = 20
QUEUED = 10_000
OUTAGE_SECONDS = 45.0


def worker(yard: Yard, server: RedisServer) -> None:
    report("worker killed", [_kill_worker(yard) for _ in range(TIMES)])


def remote(yard: Yard, server: RedisServer) -> None:
    report("worker of another machine killed", [_kill_worker(yard, True) for _ in range(TIMES)])


def engine(yard: Yard, server: RedisServer) -> None:
    yard.start_worker()
    seconds = []
    for _ in range(TIMES):
        job = yard.submit("drill", *[{"seconds": 0.5, "text": str(i)} for i in range(4)])
        holder = _holder(yard, job)
        killed = time.time()
        os.kill(holder.report["engine_pid"], signal.SIGKILL)
        until(partial(yard.finished, job))
        seconds.append(_redone(yard, job, killed))
    report("engine process killed", seconds)


def frozen(yard: Yard, server: RedisServer) -> None:
    lost, seconds = 0, []
    yard.start_worker()
    for _ in range(TIMES):
        victim = yard.start_worker()
        os.kill(victim.pid, signal.SIGSTOP)
        job = yard.submit("drill", *[{"text": str(i)} for i in range(8)])
        os.kill(victim.pid, signal.SIGKILL)
        killed = time.time()
        until(partial(yard.finished, job), patience=60)
        seconds.append(time.time() - killed)
        lost += 8 - yard.states(job).get(State.SUCCEEDED, 0)
    report(f"worker frozen and killed, {lost} tasks lost; until all were done", seconds)
    assert lost == 0


def flush(yard: Yard, server: RedisServer) -> None:
    yard.start_worker()
    seconds = []
    for _ in range(5):
        job = yard.submit("drill", *[{"seconds": 600.0} for _ in range(QUEUED)])
        with redis.Redis.from_url(server.url) as client:
            until(partial(_holders, yard, job))
            client.flushall()
            flushed = time.time()
            until(partial(_all_back, yard, client))
            seconds.append(time.time() - flushed)
            yard.store.cancel(job)
            client.flushall()  # the next round starts without this one's stale hints
        until(lambda: _in_hand(yard) == 0)
    report(f"FLUSHALL with {QUEUED} queued", seconds)


def outage(yard: Yard, server: RedisServer) -> None:
    yard.start_worker()
    yard.submit("drill", *[{} for _ in range(10)])
    server.kill()
    time.sleep(OUTAGE_SECONDS)
    server.start()
    back = time.time()
    job = yard.submit("drill", {"text": "after"})
    until(lambda: yard.finished(job), patience=120)
    report(f"Redis away for {OUTAGE_SECONDS:.0f} s", [time.time() - back])


def stalls(yard: Yard, server: RedisServer) -> None:
    before = [yard.start_worker(), yard.start_worker()]
    stalls: dict[str, Callable[[], None]] = {
        "10 s database lock": lambda: _lock(yard, 10.0),
        "15 s GIL hold": lambda: _hold_gil(yard, 15.0),
        "8 s Redis stall": lambda: _pause(server, 8.0),
    }
    for name, stall in stalls.items():
        stall()
        job = yard.submit("drill", *[{} for _ in range(20)])
        until(partial(yard.finished, job), patience=60)
        now = {w.id: w.report["engine_pid"] for w in yard.store.list_workers()}
        assert now == {w.id: w.report["engine_pid"] for w in before}, f"{name}: somebody was ended"
        sys.stdout.write(f"{name}: nobody taken for dead, no engine started anew\n")


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    sys.stdout.write(
        f"{what}: median {statistics.median(ordered):.2f} s, worst {ordered[-1]:.2f} s "
        f"of {len(ordered)}\n"
    )
    sys.stdout.flush()


def _kill_worker(yard: Yard, is_remote: bool = False) -> float:
    while len(yard.store.list_workers()) < 2:
        yard.start_worker()
    job = yard.submit("drill", *[{"seconds": 0.5, "text": str(i)} for i in range(64)])
    victim = _holder(yard, job)
    if is_remote:  # a name from another boot, which nobody here can ask the system about
        rename = workers.update().where(workers.c.id == victim.id).values(process="elsewhere 1 1")
        yard.store.write(lambda connection: connection.execute(rename))
    killed = time.time()
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: yard.finished(job))
    return _redone(yard, job, killed)


def _holder(yard: Yard, job: str) -> WorkerRecord:
    """A worker that has claimed tasks of the job."""
    until(lambda: _holders(yard, job))
    name = _holders(yard, job)[0]
    return next(w for w in yard.store.list_workers() if w.id == name)


def _holders(yard: Yard, job: str) -> list[str]:
    running = tasks.select().where(tasks.c.job_id == job, tasks.c.state == State.RUNNING)
    return [row.worker_id for row in yard.store.read(lambda c: c.execute(running).all())]


def _redone(yard: Yard, job: str, killed: float) -> float:
    """Seconds from the kill to the first claim of a task that the dead one had."""
    again = attempts.select().where(
        attempts.c.task_id.startswith(f"{job}-"), attempts.c.attempt > 1
    )
    started = [float(row.started_at) for row in yard.store.read(lambda c: c.execute(again).all())]
    assert started, "the victim held nothing: nothing was measured"
    return min(started) - killed


def _hints(client: "redis.Redis") -> int:
    lists = client.scan_iter(match=f"{PREFIX}model.*", _type="list")
    held = client.scan_iter(match=f"{PREFIX}unacked.*", _type="hash")
    return sum(map(client.llen, lists)) + sum(map(client.hlen, held))


def _all_back(yard: Yard, client: "redis.Redis") -> bool:
    return _hints(client) >= QUEUED - _in_hand(yard)


def _in_hand(yard: Yard) -> int:
    return sum(len(yard.store.still_mine(w.id)) for w in yard.store.list_workers())


def _lock(yard: Yard, seconds: float) -> None:
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); time.sleep(float(sys.argv[2])); c.execute('ROLLBACK')"
    )
    path = yard.settings.store_url.removeprefix("sqlite:///")
    subprocess.run([sys.executable, "-c", code, path, str(seconds)], check=True)


def _hold_gil(yard: Yard, seconds: float) -> None:
    job = yard.submit("drill", {"fault": "hold-gil", "seconds": seconds})
    until(lambda: yard.finished(job), patience=60)
    assert yard.states(job) == {State.SUCCEEDED: 1}


def _pause(server: RedisServer, seconds: float) -> None:
    with redis.Redis.from_url(server.url, socket_timeout=60) as client:
        client.execute_command("DEBUG", "SLEEP", str(seconds))


@contextmanager
def _farm() -> Iterator[tuple[Yard, RedisServer]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder, keep=True)
        yard = Yard(
            Settings.load(home=folder / "home", broker=server.url), folder, stall_seconds=300.0
        )
        try:
            yield yard, server
        finally:
            yard.close()
            server.stop()


MEASURES: dict[str, Callable[[Yard, RedisServer], None]] = {
    measure.__name__: measure for measure in (worker, remote, engine, frozen, flush, outage, stalls)
}

if __name__ == "__main__":
    for name in sys.argv[1:] or MEASURES:
        with _farm() as (yard, server):
            MEASURES[name](yard, server)
