"""What may be seen of a task while it runs: channels in Redis, and the messages on them.

    genfarm:live             nobody ever speaks here. Whoever watches some task listens, so that
                             one short question tells a worker that nobody watches any
    genfarm:live.<task id>   how far that task is, from its worker to whoever watches it

The subscription itself is the wish to watch. Redis ends it with its connection,
so no entry is written, renewed, or judged by the clock of another machine, and
a worker reads no word of whoever watches: it asks about the tasks in its own
hands, and gets that many numbers back. Nothing is stored, and what nobody
listens to is gone. Knows no engine and no store.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from genfarm_shared.errors import Unreachable
from genfarm_shared.queue import PREFIX
from genfarm_shared.settings import masked

LOBBY = f"{PREFIX}live"
#: Most tasks of one worker that are watched at once: the oldest in its hands.
MOST_WATCHED = 64
#: Characters of a text that are sent, its first: the rest comes with the result.
TEXT_MOST = 65_536
#: Bytes of a picture; one of 256 pixels takes some 10 KiB.
PREVIEW_MOST = 65_536
#: Bytes of a message: a character takes six where JSON escapes it.
MESSAGE_MOST = 1 << 19
#: Channels that one question names.
CHUNK = 500
#: Messages read at once, so that a flood does not hold its reader.
DRAIN_MOST = 100
#: Seconds in which the rest of a message follows its beginning. With none, redis-py takes half
#: a message for a lost connection.
REST = 0.01
#: Seconds for Redis to answer. Late is as good as lost here.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sight:
    """How far a task was at one moment. Can be lost, and late, and of an attempt that died."""

    task_id: str
    attempt: int
    #: Tokens, steps, or what else its engine counts.
    done: int
    #: How many it takes at most.
    total: int
    #: The text so far, whole: whoever missed one needs no other.
    text: str = ""
    #: The picture so far, as a small JPEG; empty where there is none.
    preview: bytes = b""


def write_sight(sight: Sight) -> bytes:
    """A line of JSON, and behind it the picture."""
    head = {
        "attempt": sight.attempt,
        "done": sight.done,
        "total": sight.total,
        "text": sight.text[:TEXT_MOST],
    }
    line = json.dumps(head, ensure_ascii=False).encode(errors="replace")
    return line + b"\n" + (sight.preview if len(sight.preview) <= PREVIEW_MOST else b"")


def read_sight(task_id: str, raw: object) -> Sight | None:
    """What a message says of that task; None for what no worker wrote."""
    if not isinstance(raw, bytes) or len(raw) > MESSAGE_MOST:
        return None
    line, _, preview = raw.partition(b"\n")
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(head, dict) or not isinstance(text := head.get("text"), str):
        return None
    attempt, done, total = (head.get(name) for name in ("attempt", "done", "total"))
    if not (_is_count(attempt) and _is_count(done) and _is_count(total)):
        return None
    # Half a surrogate pair, which JSON can hold and no stream can write.
    is_speakable = text.isascii() or text.encode(errors="replace").decode() == text
    return Sight(task_id, attempt, done, total, text, preview) if is_speakable else None


class Live:
    """One side's way to these channels. Thread-safe; every method raises Unreachable."""

    def __init__(self, url: str) -> None:
        self._url = masked(url)
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_keepalive=True,
            health_check_interval=5,
            retry=Retry(NoBackoff(), 0),
        )

    def watched(self, task_ids: Sequence[str]) -> list[str]:
        """Those of the tasks that somebody watches, the first MOST_WATCHED of them."""
        found: list[str] = []
        with answering(self._url):
            if not task_ids or not self._listeners([LOBBY])[0]:
                return found
            for start in range(0, len(task_ids), CHUNK):
                part = task_ids[start : start + CHUNK]
                numbers = self._listeners([channel_of(task_id) for task_id in part])
                found += [task_id for task_id, n in zip(part, numbers, strict=True) if n]
                if len(found) >= MOST_WATCHED:
                    break
        return found[:MOST_WATCHED]

    def show(self, sights: Sequence[Sight]) -> None:
        """Tell whoever listens now."""
        with answering(self._url):
            pipeline = self._redis.pipeline(transaction=False)
            for sight in sights:
                pipeline.publish(channel_of(sight.task_id), write_sight(sight))
            pipeline.execute()

    def listen(self, task_id: str) -> "Ear":
        """Begin to watch that task; a worker finds out within half a second."""
        client: Any = self._redis  # redis-py has no types here
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        with answering(self._url):
            pubsub.subscribe(LOBBY, channel_of(task_id))
        return Ear(self._url, pubsub, task_id)

    def close(self) -> None:
        self._redis.close()

    def _listeners(self, channels: Sequence[str]) -> list[int]:
        answer: Any = self._redis.pubsub_numsub(*channels)
        return [int(number) for _, number in answer]


class Ear:
    """Hears of one task until it is closed. For one thread."""

    def __init__(self, url: str, pubsub: Any, task_id: str) -> None:
        self._url = url
        self._pubsub = pubsub
        self._task_id = task_id

    def hear(self, timeout: float) -> Sight | None:
        """The newest sight that has come, None when none came in `timeout` seconds or less."""
        newest, wait = None, timeout
        with answering(self._url):
            for _ in range(DRAIN_MOST):
                message = self._pubsub.get_message(timeout=wait)
                if message is None:
                    break
                newest = read_sight(self._task_id, message["data"]) or newest
                wait = REST
        return newest

    def close(self) -> None:
        self._pubsub.close()


def channel_of(task_id: str) -> str:
    return f"{LOBBY}.{task_id}"


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raise Unreachable for what Redis's client raises. `url` is shown: without a password."""
    try:
        yield
    except redis.RedisError as error:
        said = str(error).rstrip(".")
        raise Unreachable(
            f"nothing can be watched while the broker {url} does not answer: {said}. The task goes "
            "on, and its result comes from the store; check that the server is up"
        ) from error
