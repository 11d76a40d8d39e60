"""The Celery application, the names in Redis, and bulk publishing.

    genfarm:model.<key>[:<step>]      list: one Celery message a task, ids only
    genfarm:unacked.<worker>          hash: messages in that worker's hands
    genfarm:unacked_index.<worker>    sorted set beside it
    genfarm:_kombu.binding.*          kombu's routes
    genfarm:epoch                     which farm, and which run of Redis, the lists are of

A message is a hint: it can be lost, doubled, reordered or forged, and only
*when* a task runs changes. Each worker has an un-acked set of its own, so that
a dead worker's messages are found at once and a long task is never redelivered.
"""

import base64
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from celery import Celery
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from genfarm_shared.errors import Unreachable
from genfarm_shared.settings import masked
from genfarm_shared.tasks import Hint

PREFIX = "genfarm:"
TASK_NAME = "genfarm.generate"
EPOCH = f"{PREFIX}epoch"
#: Redis asks for step 0 first; a task's priority p goes to step 9 - p.
STEPS = 10
#: Messages an LPUSH carries; bounds what one command holds in memory to about 1 MB.
CHUNK = 1000
#: What kombu writes between the parts of a route unless told otherwise, as we tell it.
STOCK_SEPARATOR = b"\x06\x16"
#: In seconds: a hundred years, because the keeper restores messages, not a timeout.
NEVER = 3_155_760_000


def queue_name(model: str) -> str:
    """The Celery queue of a model's tasks."""
    return f"model.{model}"


def make_app(
    broker: str, models: Sequence[str] = (), *, worker_id: str = "", queue_order: object = None
) -> Celery:
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
        broker_transport_options=_transport_options(worker_id, queue_order),
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


def _transport_options(worker_id: str, queue_order: object) -> dict[str, Any]:
    return {
        "global_keyprefix": PREFIX,
        "unacked_key": f"unacked.{worker_id}",
        "unacked_index_key": f"unacked_index.{worker_id}",
        "unacked_mutex_key": f"unacked_mutex.{worker_id}",
        "visibility_timeout": NEVER,
        "priority_steps": list(range(STEPS)),
        "sep": ":",
        "queue_order_strategy": queue_order or "round_robin",
        # The bound of a blocking pop: how soon a queue that was full is looked at again.
        "polling_interval": 0.1,
        # Without these a half-open connection hangs for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }


@dataclass(frozen=True, slots=True)
class Epoch:
    """Which Redis this is, and what a keeper last noted in it."""

    #: Changes when Redis restarts.
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
            server, mark = pipeline.execute()
        farm, _, run_id = (mark or b"").decode("ascii", "replace").partition(" ")
        return Epoch(str(server["run_id"]), farm, run_id)

    def mark(self, farm: str, run_id: str) -> None:
        """Note in Redis itself that its lists hold what that farm wants there."""
        with self._answering():
            self._redis.set(EPOCH, f"{farm} {run_id}")

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
            for raw in self._redis.scan_iter(match=f"{PREFIX}_kombu.binding.model.*", count=1000):
                if any(STOCK_SEPARATOR in route for route in self._redis.smembers(raw)):
                    signs.append(raw.decode())
        return signs

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send one message a task, in the order given, through one pipeline."""
        lists: dict[str, list[str]] = {}
        for hint in hints:
            lists.setdefault(_list_key(hint.model, hint.priority), []).append(_message(hint))
        with self._answering():
            pipeline = self._redis.pipeline(transaction=False)
            for key, messages in lists.items():
                for start in range(0, len(messages), CHUNK):
                    pipeline.lpush(key, *messages[start : start + CHUNK])
            pipeline.execute()

    def task_ids(self) -> set[str]:
        """Ids of every task that has a message in a list or in a worker's hands."""
        found: set[str] = set()
        with self._answering():
            for key in self._redis.scan_iter(match=f"{PREFIX}model.*", count=1000, _type="list"):
                for start in range(0, self._redis.llen(key), CHUNK):
                    messages = self._redis.lrange(key, start, start + CHUNK - 1)
                    found.update(map(_task_id, messages))
            for key in self._redis.scan_iter(match=f"{PREFIX}unacked.*", count=1000):
                found.update(map(_task_id, self._redis.hvals(key)))
        found.discard("")
        return found

    def holders(self) -> set[str]:
        """Ids of the workers that have messages in their hands."""
        prefix = f"{PREFIX}unacked."
        with self._answering():
            keys = list(self._redis.scan_iter(match=f"{prefix}*", count=1000))
        return {key.decode().removeprefix(prefix) for key in keys}

    def restore(self, worker_id: str) -> int:
        """Put a dead worker's un-acked messages back to be taken next; returns how many.

        Two callers at once put each back once: only the one that deletes a
        message from the un-acked set pushes it.
        """
        key = f"{PREFIX}unacked.{worker_id}"
        restored = 0
        with self._answering():
            for tag, raw in self._redis.hgetall(key).items():
                found = _unwrap(raw)
                if self._redis.hdel(key, tag) and found is not None:
                    self._redis.rpush(*found)
                    restored += 1
            names = ("unacked_index", "unacked_mutex")
            self._redis.delete(key, *(f"{PREFIX}{name}.{worker_id}" for name in names))
        return restored

    def close(self) -> None:
        self._redis.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            said = str(error).rstrip(".")
            raise Unreachable(
                f"the broker {self.url} does not answer: {said}. Tasks already written down are "
                "safe; check GENFARM_BROKER and that the server is up, or start one: `genfarm up`"
            ) from error


def _list_key(model: str, priority: int) -> str:
    step = STEPS - 1 - priority
    return f"{PREFIX}{queue_name(model)}" + (f":{step}" if step else "")


def _message(hint: Hint) -> str:
    """One Celery protocol-2 message, built by hand: `apply_async` costs sixty times more."""
    before_id, between, after_tag = _envelope(hint.kind, hint.model, hint.batch_key, hint.rows)
    job, _, index = hint.task_id.rpartition("-")
    tag = os.urandom(8).hex()
    return (
        f'{before_id}{hint.task_id}","root_id":"{hint.task_id}","argsrepr":"{job} item {index}"'
        f'{between}"correlation_id":"{hint.task_id}","priority":{STEPS - 1 - hint.priority},'
        f'"delivery_tag":"{hint.task_id}.{tag}"{after_tag}'
    )


@lru_cache(maxsize=1024)
def _envelope(kind: str, model: str, batch_key: str, rows: int) -> tuple[str, str, str]:
    """The parts of a message that tasks of one batch key have in common."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = base64.b64encode(json.dumps([[kind, model, batch_key, rows], {}, embed]).encode())
    headers = {
        "lang": "py",
        "task": TASK_NAME,
        "shadow": f"{kind} · {model}",
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "parent_id": None,
        "kwargsrepr": "{}",
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
    }
    head = json.dumps(headers)[:-1]
    route = json.dumps({"exchange": "", "routing_key": queue_name(model)})
    return (
        f'{{"body":"{body.decode()}","content-encoding":"utf-8",'
        f'"content-type":"application/json","headers":{head},"id":"',
        '},"properties":{"reply_to":"","delivery_mode":2,'
        f'"body_encoding":"base64","delivery_info":{route},',
        "}}",
    )


def _unwrap(raw: bytes | str) -> tuple[str, str] | None:
    """The list and the message of one of kombu's un-acked entries; None for another shape."""
    try:
        message, _exchange, queue = json.loads(raw)
        step = int(message["properties"]["priority"])
        return f"{PREFIX}{queue}" + (f":{step}" if step else ""), json.dumps(message)
    except (ValueError, LookupError, TypeError):
        return None


def _task_id(message: bytes | str) -> str:
    """The task that a raw message, bare or in kombu's un-acked wrapping, speaks of; '' for none."""
    try:
        loaded = json.loads(message)
        envelope = loaded[0] if isinstance(loaded, list) else loaded
        return str(envelope["headers"]["id"])
    except (ValueError, LookupError, TypeError):
        return ""
