"""Faults of Redis, of what is in it, and of the way to it."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from random import Random

import redis

from genfarm.torture.blow import Blow, Field
from genfarm.torture.garbage import GARBAGE
from genfarm.torture.yard import quietly
from genfarm_shared.messages import queue_name
from genfarm_shared.queue import PREFIX

#: The list of a normal drill, see `genfarm_shared/queue.py`.
LIST = f"{PREFIX}{queue_name('drill')}"


def kill_redis(at: Field, rng: Random) -> Blow | None:
    return _down(at, rng.choice((0.2, 1.0, 3.0)), wipe=False)


def wipe_redis(at: Field, rng: Random) -> Blow | None:
    return _down(at, rng.choice((0.2, 1.0, 3.0)), wipe=True)


def flush(at: Field, _rng: Random) -> Blow | None:
    return _ask_redis(at, lambda client: client.flushall(), "every key")


def stall_redis(at: Field, rng: Random) -> Blow | None:
    seconds = rng.choice((1.0, 2.0, 6.0))

    def stall(client: redis.Redis) -> None:
        try:
            _say_to(client, "DEBUG", "SLEEP", seconds)
        except redis.TimeoutError:
            return  # it sleeps, and answers nobody
        except redis.ResponseError:  # a server that allows no DEBUG
            _say_to(client, "CLIENT", "PAUSE", int(seconds * 1000), "ALL")

    return _ask_redis(at, stall, "every command", seconds, timeout=0.2)


def drop_clients(at: Field, _rng: Random) -> Blow | None:
    def drop(client: redis.Redis) -> None:
        for kind in ("normal", "pubsub"):
            _say_to(client, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    return _ask_redis(at, drop, "every connection")


def drop_keys(at: Field, rng: Random) -> Blow | None:
    """A part of the messages, so that Redis stays the same run and looks healthy."""

    def drop(client: redis.Redis) -> None:
        for key in client.scan_iter(match=f"{LIST}*", _type="list"):
            client.ltrim(key, 0, client.llen(key) // 2)
        hashes = sorted(client.scan_iter(match=f"{PREFIX}unacked.*", _type="hash"))
        if hashes:
            client.delete(rng.choice(hashes))

    return _ask_redis(at, drop, "half the lists, one un-acked hash")


def push_garbage(at: Field, rng: Random) -> Blow | None:
    chosen = rng.sample(GARBAGE, 3)

    def push(client: redis.Redis) -> None:
        for message in chosen:
            (client.rpush if rng.random() < 0.5 else client.lpush)(LIST, message)
            at.yard.garbage.append(message)

    return _ask_redis(at, push, "3 malformed messages")


def push_again(at: Field, messages: Sequence[bytes]) -> bool:
    """Put messages back that a fault took away."""
    with at.yard.client() as client:
        return quietly(lambda: client.rpush(LIST, *messages))


def push_doubles(at: Field, rng: Random) -> Blow | None:
    def push(client: redis.Redis) -> None:
        messages = [m for m in client.lrange(LIST, 0, 20) if b'"headers"' in m]
        for key in client.scan_iter(match=f"{PREFIX}unacked.*", _type="hash"):
            held = [json.loads(raw)[0] for raw in client.hvals(key)[:20]]
            messages += [json.dumps(message).encode() for message in held]
        for message in messages:
            (client.rpush if rng.random() < 0.5 else client.lpush)(LIST, message)

    return _ask_redis(at, push, "messages in lists and in hands")


def half_open(at: Field, _rng: Random) -> Blow | None:
    assert at.yard.proxy is not None  # noqa: S101  # the yard has started
    return Blow(f"{at.yard.proxy.swallow()} connections")


def cut(at: Field, rng: Random) -> Blow | None:
    proxy = at.yard.proxy
    assert proxy is not None  # noqa: S101
    proxy.cut()
    return Blow("the way to Redis", rng.uniform(0.2, 4.0), lambda: setattr(proxy, "is_cut", False))


def slow(at: Field, rng: Random) -> Blow | None:
    proxy = at.yard.proxy
    assert proxy is not None  # noqa: S101
    proxy.delay = rng.uniform(0.02, 0.3)
    heal: Callable[[], object] = lambda: setattr(proxy, "delay", 0.0)  # noqa: E731
    return Blow(f"{proxy.delay * 1000:.0f} ms each way", rng.uniform(2.0, 5.0), heal)


def _down(at: Field, seconds: float, *, wipe: bool) -> Blow | None:
    server = at.yard.redis
    if server is None or at.yard.is_redis_down or not server.is_running():
        return None
    at.yard.is_redis_down = True
    quietly(lambda: os.kill(server.pid, signal.SIGKILL))
    return Blow("Redis", seconds, lambda: at.yard.start_redis(wipe=wipe))


def _ask_redis(
    at: Field,
    work: Callable[[redis.Redis], object],
    target: str,
    seconds: float = 0.0,
    timeout: float = 2.0,
) -> Blow | None:
    with at.yard.client(timeout) as client:
        done = not at.yard.is_redis_down and quietly(lambda: work(client))
    return Blow(target, seconds) if done else None


def _say_to(client: redis.Redis, *words: object) -> None:
    client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis has no type for it
