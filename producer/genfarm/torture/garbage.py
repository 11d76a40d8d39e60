"""Messages that no honest producer sends; each must end in dead letters, and no worker with it."""

import base64
import hashlib
import json
from collections.abc import Iterable

from genfarm_shared.messages import MAX_BYTES, DeadLetter


def _message(content: bytes, **changed: object) -> bytes:
    message: dict[str, object] = {
        "body": base64.b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": "forged-1", "task": "genfarm.generate", "lang": "py"},
        "properties": {
            "delivery_tag": "forged",
            "delivery_mode": 2,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "model.drill"},
            "priority": 9,
        },
    }
    return json.dumps(message | changed).encode()


_BODY = b'[["drill", "drill", "drill", 1], {}, {}]'

GARBAGE: tuple[bytes, ...] = (
    b"",
    b"not json",
    b"[]",
    b"42",
    b"null",
    b"{}",
    b'{"a": 1}',
    b"\x80\x04\x95",
    b"[" * 5000,
    _message(_BODY, properties={}),
    _message(b'{"a": 1}'),
    _message(b"5"),
    _message(b"[1]"),
    _message(b"not json"),
    _message(b"\xff\xfe"),
    _message(_BODY, headers={"id": "forged-2", "task": "os.system", "lang": "py"}),
    _message(_BODY, **{"content-type": "application/x-python-serialize"}),
    _message(_BODY, body="not base64!"),
    _message(b'[["drill", "drill", "drill", ' + b"1" * 300_000 + b"], {}, {}]"),
)


def unburied(pushed: Iterable[bytes], letters: Iterable[DeadLetter]) -> list[bytes]:
    """Those that no dead letter shows; one that is too large is kept in part, and known by its
    size."""
    found = {(letter.size, letter.sha256) for letter in letters}
    sizes = {size for size, _ in found}

    def is_found(message: bytes) -> bool:
        size = len(message)
        if size > MAX_BYTES:
            return size in sizes
        return (size, hashlib.sha256(message).hexdigest()) in found

    return sorted({message for message in pushed if not is_found(message)})
