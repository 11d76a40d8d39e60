"""One message of the farm: how it is written, and what is refused when it is read.

A message is Celery's own (protocol 2, JSON) and carries ids only. Whoever
reaches Redis can put anything into its lists, and several such things end a
stock worker, so every byte is checked here before Celery sees it:

    too_large         more than MAX_BYTES
    not_json          no JSON, or nested too deeply to be read
    not_a_message     no protocol-2 envelope: an object with headers, properties, a body
    unknown_task      names another task than TASK_NAME
    bad_content_type  pickle, a compressed body, anything but plain JSON
    bad_eta           is to run at a time, or to expire: the store says when a task runs
    bad_id            its task id is none that a farm gives
    bad_priority      no whole number from 0 to 9
    bad_body          not [[kind, model, batch key, rows], {}, {...}] in base64
    unknown_model     of a model that the reader does not serve

Those words are stable. Pure: knows no queue and no store.
"""

import base64
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genfarm_shared.tasks import Hint

TASK_NAME = "genfarm.generate"
#: Redis is asked for step 0 first; a task's priority p goes to step 9 - p.
STEPS = 10
#: A farm's message is about 1 kB. Sixty times that is no honest one, and what is kept of
#: refused ones stays small: the store holds at most 10,000 of them.
MAX_BYTES = 64 * 1024
#: Bytes that are shown of a refused message, and all that is taken of one that is too large.
HEAD_BYTES = 200
#: Characters of a body: its four values are bounded by the store's columns.
MAX_BODY = 4096

_ID = re.compile(r"[!-~]{1,64}")
#: A message in a worker's hands, as kombu writes it: the message, its exchange, its queue.
_ENTRY = re.compile(rb'\[(.*), ?"", ?"(model\.[^"]*)"\]', re.DOTALL)


class Refused(Exception):
    """A message that no worker may act on; `reason` is one of the words above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused message, on its way to the store."""

    #: The queue it was in.
    source: str
    #: Why it was refused.
    reason: str
    #: The whole message, or the beginning of one that is too large.
    body: bytes
    #: Bytes of the whole.
    size: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused message as it stands in the store."""

    id: int
    #: UTC seconds.
    at: float
    source: str
    reason: str
    #: Of `body`; of its beginning where it was too large to be taken whole.
    sha256: str
    #: Bytes of the whole.
    size: int
    #: The first bytes, escaped.
    head: str
    #: The whole message; None where it was too large.
    body: bytes | None
    #: The task it speaks of, where that can be read.
    task_id: str | None
    #: When it was last put back, UTC seconds.
    replayed_at: float | None


def queue_name(model: str) -> str:
    """The Celery queue of a model's tasks."""
    return f"model.{model}"


def new_tag() -> str:
    """What tells the messages of one round of publishing from those of the same tasks before."""
    return os.urandom(8).hex()


def write_message(hint: Hint, tag: str | None = None) -> str:
    """One Celery protocol-2 message, built by hand: `apply_async` costs sixty times more.

    `tag` is the round's, see `new_tag`; without it the message is its own round.
    """
    before_id, between, after_tag = _envelope(hint.kind, hint.model, hint.batch_key, hint.rows)
    task_id = hint.task_id
    job, _, index = task_id.rpartition("-")
    return (
        f'{before_id}{task_id}","root_id":"{task_id}","argsrepr":"{job} item {index}"'
        f'{between}"correlation_id":"{task_id}","priority":{STEPS - 1 - hint.priority},'
        f'"delivery_tag":"{task_id}.{tag or new_tag()}"{after_tag}'
    )


def open_message(raw: bytes, size: int | None = None) -> dict[str, Any]:
    """The envelope of a message. `size` is that of the whole where `raw` is its beginning.

    Raises Refused; what it returns can be given to kombu.
    """
    if (len(raw) if size is None else size) > MAX_BYTES:
        raise Refused("too_large")
    try:
        envelope = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None
    if not isinstance(envelope, dict):
        raise Refused("not_a_message")
    properties, headers = envelope.get("properties"), envelope.get("headers")
    if not (isinstance(properties, dict) and isinstance(headers, dict)):
        raise Refused("not_a_message")
    has_tag = isinstance(properties.get("delivery_tag"), str)
    routed = isinstance(properties.get("delivery_info", {}), dict)
    named = isinstance(headers.get("task"), str) and isinstance(headers.get("id"), str)
    if not (has_tag and routed and named and isinstance(envelope.get("body"), str)):
        raise Refused("not_a_message")
    return envelope


def read_hint(envelope: Mapping[str, Any]) -> Hint:
    """What an opened message says of its task. Raises Refused."""
    headers, properties = envelope["headers"], envelope["properties"]
    if headers["task"] != TASK_NAME:
        raise Refused("unknown_task")
    content = (envelope.get("content-type"), envelope.get("content-encoding"))
    if content != ("application/json", "utf-8") or headers.get("compression"):
        raise Refused("bad_content_type")
    if headers.get("eta") or headers.get("expires"):
        raise Refused("bad_eta")
    if not _ID.fullmatch(headers["id"]):
        raise Refused("bad_id")
    step = properties.get("priority")
    if type(step) is not int or not 0 <= step < STEPS:
        raise Refused("bad_priority")
    if properties.get("body_encoding") != "base64" or len(envelope["body"]) > MAX_BODY:
        raise Refused("bad_body")
    kind, model, batch_key, rows = _read_body(envelope["body"])
    return Hint(headers["id"], kind, model, batch_key, rows, STEPS - 1 - step)


def unwrap(entry: bytes) -> tuple[str, bytes] | None:
    """The queue and the message of an un-acked entry, whatever the message is; None for no entry.

    Not read as JSON: a message that is none comes back whole as well.
    """
    found = _ENTRY.fullmatch(entry)
    return (found[2].decode("utf-8", "replace"), found[1]) if found else None


def step_of(raw: bytes) -> int:
    """The priority step that a message says; that of a normal task where it says none."""
    try:
        return STEPS - 1 - read_hint(open_message(raw)).priority
    except Refused:
        return STEPS - 1


def task_id_of(raw: bytes) -> str | None:
    """The task that a message speaks of, refused or not; None for none."""
    try:
        task_id = open_message(raw)["headers"]["id"]
    except Refused:
        return None
    return task_id if _ID.fullmatch(task_id) else None


@lru_cache(maxsize=1024)
def _read_body(body: str) -> tuple[str, str, str, int]:
    """Kind, model, batch key and rows. Tasks of one key share a body, so it is decoded once."""
    try:
        args, kwargs, embed = json.loads(base64.b64decode(body, validate=True))
        kind, model, batch_key, rows = args
    except (ValueError, TypeError, RecursionError):
        raise Refused("bad_body") from None
    named = all(isinstance(word, str) for word in (kind, model, batch_key))
    shaped = isinstance(kwargs, dict) and isinstance(embed, dict)
    if not (named and shaped and type(rows) is int and rows > 0):
        raise Refused("bad_body")
    return kind, model, batch_key, rows


@lru_cache(maxsize=1024)
def _envelope(kind: str, model: str, batch_key: str, rows: int) -> tuple[str, str, str]:
    """The parts of a message that tasks of one batch key have in common."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    args = [kind, model, batch_key, rows]
    body = base64.b64encode(_compact([args, {}, embed]).encode())
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
    head = _compact(headers)[:-1]
    route = _compact({"exchange": "", "routing_key": queue_name(model)})
    return (
        f'{{"body":"{body.decode()}","content-encoding":"utf-8",'
        f'"content-type":"application/json","headers":{head},"id":"',
        '},"properties":{"reply_to":"","delivery_mode":2,'
        f'"body_encoding":"base64","delivery_info":{route},',
        "}}",
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
