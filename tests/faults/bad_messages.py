"""Messages that nobody should be able to hurt a worker with, each with its verdict."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from genfarm_shared.messages import MAX_BYTES, write_message
from genfarm_shared.tasks import Hint


def forge(body: object = None, **changes: Mapping[str, Any]) -> bytes:
    """A farm's message with another body, and with `headers`, `properties` or the `top` changed.

    A value of None takes the key away.
    """
    message = json.loads(write_message(Hint("forged-000000", "sleep", "sleep", "sleep", 1)))
    if body is not None:
        message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    for place, values in changes.items():
        target = message if place == "top" else message[place]
        for key, value in values.items():
            target[key] = value
            if value is None:
                del target[key]
    return json.dumps(message).encode()


def forge_with_id_first(task_id: str) -> bytes:
    """A message that can be used, of a task that never was; nothing stands before its id."""
    message = json.loads(forge(headers={"id": task_id}))
    headers = {"id": task_id, **message.pop("headers")}
    return json.dumps({"headers": headers, **message}).encode()


GOOD_BODY = [["sleep", "sleep", "sleep", 1], {}, {}]
PROTOCOL_1 = {"task": "genfarm.generate", "id": "forged-000000", "args": [], "kwargs": {}}

#: By name: the bytes, and the reason under which they are kept.
BAD: dict[str, tuple[bytes, str]] = {
    "words": (b"these are no JSON", "not_json"),
    "binary": (b"\x80\x04\x95\x00\xff\xfe\x00", "not_json"),
    "deep": (b"[" * 30_000 + b"]" * 30_000, "not_json"),
    "too large": (b" " * (MAX_BYTES + 1), "too_large"),
    "list": (b"[]", "not_a_message"),
    "number": (b"42", "not_a_message"),
    "empty": (b"{}", "not_a_message"),
    "no headers": (forge(top={"headers": None}), "not_a_message"),
    "no delivery tag": (forge(properties={"delivery_tag": None}), "not_a_message"),
    "headers of another type": (forge(top={"headers": ["id"]}), "not_a_message"),
    "protocol 1": (forge(PROTOCOL_1, top={"headers": {}}), "not_a_message"),
    "route of another type": (forge(properties={"delivery_info": "x"}), "not_a_message"),
    "unknown task": (forge(headers={"task": "os.system"}), "unknown_task"),
    "pickle": (forge(top={"content-type": "application/x-python-serialize"}), "bad_content_type"),
    "compressed": (forge(headers={"compression": "application/x-gzip"}), "bad_content_type"),
    "bad eta": (forge(headers={"eta": "the day after tomorrow"}), "bad_eta"),
    "zero byte in the id": (forge(headers={"id": "job-\0"}), "bad_id"),
    "half a character in the id": (forge(headers={"id": "job-\ud800"}), "bad_id"),
    "huge priority": (forge(properties={"priority": 10**30}), "bad_priority"),
    "infinite priority": (forge(properties={"priority": float("inf")}), "bad_priority"),
    "bad base64": (forge(top={"body": "%%%"}), "bad_body"),
    "body is an object": (forge({"a": 1}), "bad_body"),
    "body is a number": (forge(5), "bad_body"),
    "body without a batch key": (forge([["sleep", "sleep", 1], {}, {}]), "bad_body"),
    "no rows": (forge([["sleep", "sleep", "sleep", 0], {}, {}]), "bad_body"),
    "unknown model": (forge([["sleep", "nobody's", "k", 1], {}, {}]), "unknown_model"),
}
