"""Every fault by its name; how each strikes and heals is in `on_workers`, `on_redis`, `on_store`.

A fault is struck only where it can be: it returns None where it cannot, and
another is chosen. It touches the yard's own processes and servers alone.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from genfarm.torture import on_redis, on_store, on_workers
from genfarm.torture.blow import Blow, Field

#: What a fault may need.
POSTGRES, LINUX = "--store postgresql", "Linux"


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of `--faults list`."""

    name: str
    #: Whom it strikes; see `nemesis.OUTAGES`.
    family: str
    #: For people.
    said: str
    strike: Callable[[Field, Random], Blow | None] = field(repr=False)
    #: How often it is chosen, beside the others.
    weight: float = 1.0
    #: Without which it can never strike; empty for nothing.
    needs: str = ""

    def can_strike(self, store: str) -> bool:
        """Whether a run on that store, on this machine, can ever be struck by it."""
        if self.needs == POSTGRES:
            return store == "postgresql"
        return self.needs != LINUX or sys.platform == "linux"


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill-worker", "worker", "SIGKILL of a worker", on_workers.kill_worker, 12.0),
        Fault("freeze-worker", "worker", "SIGSTOP, then SIGCONT", on_workers.freeze_worker),
        Fault("freeze-kill", "worker", "SIGSTOP, then SIGKILL", on_workers.freeze_kill, 3.0),
        Fault("term-worker", "worker", "SIGTERM of a worker", on_workers.terminate_worker),
        Fault("kill-engine", "engine", "SIGKILL of an engine", on_workers.kill_engine),
        Fault("freeze-engine", "engine", "SIGSTOP of an engine", on_workers.freeze_engine, 0.5),
        Fault("hold-gil", "engine", "an engine that keeps Python's lock", on_workers.hold_gil, 0.5),
        Fault(
            "disk-full",
            "disk",
            "a worker that can write no byte",
            on_workers.fill_disk,
            needs=LINUX,
        ),
        Fault("redis-kill", "broker", "kill -9 of Redis, back with its data", on_redis.kill_redis),
        Fault("redis-wipe", "broker", "kill -9 of Redis, back empty", on_redis.wipe_redis),
        Fault("flush", "broker", "FLUSHALL", on_redis.flush),
        Fault("redis-stall", "broker", "DEBUG SLEEP, or CLIENT PAUSE", on_redis.stall_redis),
        Fault("drop-clients", "broker", "CLIENT KILL of everybody", on_redis.drop_clients),
        Fault("drop-keys", "broker", "deletion of a part of the messages", on_redis.drop_keys),
        Fault("garbage", "message", "malformed messages", on_redis.push_garbage),
        Fault("doubles", "message", "messages twice", on_redis.push_doubles, 0.5),
        Fault(
            "half-open",
            "network",
            "connections that swallow all",
            on_redis.half_open,
            0.5,
        ),
        Fault("cut", "network", "connections reset, new ones refused", on_redis.cut),
        Fault("slow", "network", "a slow way to Redis", on_redis.slow),
        Fault("db-lock", "database", "the store locked", on_store.lock_database),
        Fault(
            "db-restart",
            "database",
            "PostgreSQL stopped at once",
            on_store.restart_database,
            2.0,
            POSTGRES,
        ),
    )
}
