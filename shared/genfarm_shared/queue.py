"""The Celery application, the names in Redis, and bulk publishing.

    genfarm:model.<key>[:<step>]      list: one Celery message a task, ids only
    genfarm:unacked.<worker>          hash: messages in that worker's hands
    genfarm:bell.<queue>              sorted set of one member while messages may wait there
    genfarm:askers.<queue>            hash: when each worker last asked, and what it then held
    genfarm:_kombu.binding.*          kombu's routes
    genfarm:epoch                     which farm, and which run of Redis, the lists are of

A message is a hint: it can be lost, doubled, reordered or forged, and only
*when* a task runs changes. Each worker has an un-acked set of its own, so that
a dead worker's messages are found at once and a long task is never redelivered.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from celery import Celery
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from genfarm_shared.errors import Unreachable
from genfarm_shared.forms import Forms
from genfarm_shared.messages import (
    STEPS,
    new_tag,
    queue_name,
    step_of,
    unwrap,
    write_message,
)
from genfarm_shared.scripts import RESTORE_SCRIPT
from genfarm_shared.settings import masked
from genfarm_shared.tasks import Hint

PREFIX = "genfarm:"
EPOCH = f"{PREFIX}epoch"
#: Messages an LPUSH carries; bounds what one command holds in memory to about 1 MB.
CHUNK = 1000
#: What kombu writes between the parts of a route unless told otherwise, as we tell it.
STOCK_SEPARATOR = b"\x06\x16"
#: What a bell holds: of one member, so that it cannot grow.
RING = {"rung": 0.0}
#: What follows the prefix in the name of a worker's hash; under any other no worker holds.
PLAIN = re.compile(rb"[!-~]+")
#: In seconds: a hundred years, because the keeper restores messages, not a timeout.
NEVER = 3_155_760_000


def make_app(broker: str, models: Sequence[str] = (), *, worker_id: str = "") -> Celery:
    """The Celery application, for a worker, for Flower or for `celery status`."""
    app = Celery("genfarm", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue=queue_name(models[0]) if models else "genfarm",
        task_queues={queue_name(m): {"routing_key": queue_name(m)} for m in models} or None,
        task_create_missing_queues=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_detect_quorum_queues=False,
        worker_enable_remote_control=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_use_ssl=_tls(broker),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options=_transport_options(worker_id),
        enable_utc=True,
    )
    return app


def _tls(url: str) -> dict[str, str] | None:
    """How Celery and Flower speak TLS: kombu alone would not check the server's certificate."""
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return None
    asked = {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}
    return {"ssl_cert_reqs": "required"} | asked


def _transport_options(worker_id: str) -> dict[str, Any]:
    return {
        "global_keyprefix": PREFIX,
        "unacked_key": f"unacked.{worker_id}",
        "unacked_index_key": f"unacked_index.{worker_id}",
        "unacked_mutex_key": f"unacked_mutex.{worker_id}",
        "visibility_timeout": NEVER,
        "priority_steps": list(range(STEPS)),
        "sep": ":",
        # Seconds that an idle worker blocks before it looks by itself: a stock Celery client
        # rings no bell.
        "polling_interval": 0.25,
        # Without these a half-open connection hangs for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }


@dataclass(frozen=True, slots=True)
class Epoch:
    """Which Redis this is, and what a keeper last noted in it."""

    #: Changes when Redis restarts; empty where the server does not say.
    run_id: str
    #: The farm that the lists were last compared with, empty after a flush.
    farm: str
    #: The run of Redis at that time.
    marked_run_id: str


class Broker:
    """The farm's side of Redis that is not Celery's: publishing and counting. Thread-safe.

    Every method raises Unreachable when Redis does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = masked(url)
        #: Seconds for which callers have waited for answers so far.
        self.waited_seconds = 0.0
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=10,
            socket_connect_timeout=5,
            socket_keepalive=True,
            health_check_interval=5,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )

    def ping(self) -> None:
        """Return when Redis answers."""
        with self._answering():
            self._redis.ping()

    def epoch(self) -> Epoch:
        """What tells whether the lists in Redis are still the ones that were filled."""
        with self._answering():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.info("server")
            pipeline.get(EPOCH)
            server, mark = pipeline.execute(raise_on_error=False)
            if isinstance(mark, redis.RedisError) and "WRONGTYPE" not in str(mark):
                raise mark
        # A managed server may keep INFO to itself: the mark alone still shows a flush.
        current = "" if isinstance(server, redis.RedisError) else server.get("run_id", "")
        said = mark.decode("ascii", "replace") if isinstance(mark, bytes) else ""
        farm, _, run_id = said.partition(" ")
        return Epoch(str(current), farm, run_id)

    def mark(self, farm: str, run_id: str) -> None:
        """Note in Redis itself that its lists hold what that farm wants there."""
        with self._answering():
            self._redis.set(EPOCH, f"{farm} {run_id}")

    def take_over(self, farm: str, *, by_force: bool = False) -> None:
        """Make the lists that farm's if they are nobody's, or whoever's they are."""
        with self._answering():
            self._redis.set(EPOCH, f"{farm} ", nx=not by_force)

    def eviction_policy(self) -> str:
        """Redis's `maxmemory-policy`; anything but `noeviction` may drop messages."""
        with self._answering():
            return str(self._redis.info("memory").get("maxmemory_policy", "unknown"))

    def foreigners(self) -> list[str]:
        """Signs of a Celery app that is not the farm's on the farm's keys, by name.

        Stock Celery holds messages in one set for all its workers, which it sweeps after a
        timeout, and separates the parts of a route by other characters.
        """
        stock = [f"{PREFIX}{key}" for key in ("unacked", "unacked_index", "_kombu.binding.celery")]
        with self._answering():
            signs = [key for key in stock if self._redis.exists(key)]
            bindings = f"{PREFIX}_kombu.binding.model.*"
            for raw in self._redis.scan_iter(match=bindings, count=1000, _type="set"):
                if any(STOCK_SEPARATOR in route for route in self._redis.smembers(raw)):
                    signs.append(raw.decode("utf-8", "backslashreplace"))
        return signs

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send one message a task, in the order given, some thousand at a time."""
        tag = new_tag()
        for start in range(0, len(hints), 5 * CHUNK):
            part = hints[start : start + 5 * CHUNK]
            self.push([(hint, write_message(hint, tag)) for hint in part])

    def push(self, messages: Sequence[tuple[Hint, str | bytes]]) -> None:
        """Put messages to the end of the lists that their hints name, a redo to the front."""
        lists: dict[tuple[str, int, bool], list[str | bytes]] = {}
        for hint, message in messages:
            lists.setdefault((hint.model, hint.priority, hint.is_redo), []).append(message)
        with self._answering():
            pipeline = self._redis.pipeline(transaction=False)
            for (model, priority, is_redo), found in lists.items():
                push = pipeline.rpush if is_redo else pipeline.lpush
                for start in range(0, len(found), CHUNK):
                    push(list_key(model, priority), *found[start : start + CHUNK])
            for model in {model for model, _, _ in lists}:
                pipeline.zadd(bell_key(queue_name(model)), RING)
            pipeline.execute()

    def backlog(self, models: Sequence[str]) -> dict[str, int]:
        """How many messages wait of each model."""
        with self._answering():
            pipeline = self._redis.pipeline(transaction=False)
            for model in models:
                for priority in range(STEPS):
                    pipeline.llen(list_key(model, priority))
            found = pipeline.execute(raise_on_error=False)  # what is no list holds no messages
        counts = [n if isinstance(n, int) else 0 for n in found]
        return {m: sum(counts[i * STEPS : (i + 1) * STEPS]) for i, m in enumerate(models)}

    def task_ids(self) -> set[str]:
        """Ids of every task that has a message in a list or in a worker's hands."""
        found: set[str] = set()
        forms = Forms()
        with self._answering():
            for key in self._redis.scan_iter(match=f"{PREFIX}model.*", count=1000, _type="list"):
                for start in range(0, self._redis.llen(key), CHUNK):
                    messages = self._redis.lrange(key, start, start + CHUNK - 1)
                    found.update(forms.task_id(_bytes(message)) for message in messages)
            for worker_id in self._hands():
                entries = self._redis.hvals(f"{PREFIX}unacked.{worker_id}")
                held = filter(None, (unwrap(_bytes(entry)) for entry in entries))
                found.update(forms.task_id(message) for _, message in held)
        found.discard("")
        return found

    def holders(self) -> set[str]:
        """Ids of the workers that have messages in their hands."""
        with self._answering():
            return set(self._hands())

    def _hands(self) -> Iterator[str]:
        """Whose un-acked hashes there are. Whoever reaches Redis can name keys as he likes."""
        prefix = f"{PREFIX}unacked.".encode()
        for key in self._redis.scan_iter(match=prefix + b"*", count=1000, _type="hash"):
            worker_id = _bytes(key).removeprefix(prefix)
            if PLAIN.fullmatch(worker_id):
                yield worker_id.decode()

    def restore(self, worker_id: str) -> int:
        """Put a dead worker's un-acked messages back to be taken next; returns how many.

        Two callers at once put each back once. The hash goes with its last entry: a worker
        that was only frozen may be writing new ones, which the next round finds.
        """
        key = f"{PREFIX}unacked.{worker_id}"
        with self._answering():
            pipeline = self._redis.pipeline(transaction=False)
            for tag, raw in self._redis.hgetall(key).items():
                found = unwrap(_bytes(raw))
                if found is None:
                    self._redis.hdel(key, tag)
                    continue
                queue, message = found
                keys = (key, _step_key(queue, step_of(message)), bell_key(queue))
                pipeline.eval(RESTORE_SCRIPT, len(keys), *keys, tag, message)
            restored = sum(map(int, pipeline.execute()))
            names = ("unacked_index", "unacked_mutex")
            self._redis.delete(*(f"{PREFIX}{name}.{worker_id}" for name in names))
        return restored

    def close(self) -> None:
        self._redis.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except redis.RedisError as error:
            said = str(error).rstrip(".")
            raise Unreachable(
                f"the broker {self.url} does not answer: {said}. Tasks already written down are "
                "safe; check GENFARM_BROKER and that the server is up, or start one: `genfarm up`"
            ) from error
        finally:
            self.waited_seconds += time.monotonic() - began


def list_key(model: str, priority: int) -> str:
    """The list that holds a model's messages of that priority."""
    return _step_key(queue_name(model), STEPS - 1 - priority)


def bell_key(queue: str) -> str:
    """What rings when messages may wait in that queue."""
    return f"{PREFIX}bell.{queue}"


def _step_key(queue: str, step: int) -> str:
    return f"{PREFIX}{queue}" + (f":{step}" if step else "")


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
