"""The pipe between a worker process and its engine process: JSON heads, raw bytes behind.

    to the engine     {"op": "admit", "claims": [...]}
                      {"op": "drop", "task_ids": [...]}
                      {"op": "reload", "model": key}          try a failed load once more
                      {"op": "settle", "model": key, "rows": n}   what all workers use
                      {"op": "stop"}
    to the worker     {"op": "ready", "device": "cpu", ...}
                      {"op": "loading", "model": key}
                      {"op": "measured", "model": key, "rows": n, "rate": r, "how": s}
                      {"op": "loaded", "model": key, "seconds": s, "reload": s, "bytes": n}
                      {"op": "wanting", "model": key, "bytes": n}   tasks, and no room for it
                      {"op": "evicted", "model": key, "parked": bool}
                      {"op": "unloadable", "model": key, "reason": s}
                      {"op": "stepping", "model": key}        when it is another than before
                      {"op": "shortage", "model": key, "ceilings": {batch key: tasks}}
                      {"op": "lost", "reason": s}             the device; the process ends
                      {"op": "outputs", "outputs": [...]}     pixels follow as blobs
                      {"op": "alive"}                         progress, a few times a second

Each head and each blob stands behind its length, 8 bytes. `Connection` could do
that too, but reads a message to its end once it has begun, and who watches an
engine must not wait for one that is frozen within a message.

Never pickle: what comes out of a model's process is data. Knows no engine.
"""

import json
import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output, Picture

#: Bytes read at a time; a socket's buffer holds some 200 KiB.
CHUNK = 1 << 18

_LENGTH = struct.Struct("!Q")


class Pipe:
    """One end. Not for two threads at once in the same direction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: What has arrived of messages that are not complete.
        self._arrived = bytearray()
        #: Of the message that is arriving: its head, and its blobs so far.
        self._head: dict[str, Any] = {}
        self._blobs: list[bytes] = []

    def send_claims(self, claims: Sequence[Claim]) -> None:
        self.send({"op": "admit", "claims": [asdict(claim) for claim in claims]})

    def send_outputs(self, outputs: Sequence[Output]) -> None:
        pictures = [picture for output in outputs for picture in output.pictures]
        heads = [{**asdict(output), "pictures": _sizes(output)} for output in outputs]
        self.send({"op": "outputs", "outputs": heads, "blobs": len(pictures)})
        for picture in pictures:
            self._write(picture.rgb)

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError when the other end is gone."""
        self._write(json.dumps(message).encode())

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message, None when none was complete within `timeout` seconds.

        `claims` come as Claim and `outputs` as Output. Raises EOFError when
        the other end is gone.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._is_complete():
            rest = None if until is None else max(until - time.monotonic(), 0.0)
            if not self._connection.poll(rest):
                return None
            self._read()
        message, blobs = self._head, iter(self._blobs)
        self._head, self._blobs = {}, []
        if message["op"] == "admit":
            message["claims"] = [Claim(**claim) for claim in message["claims"]]
        elif message["op"] == "outputs":
            message["outputs"] = [_output(head, blobs) for head in message["outputs"]]
        return message

    def close(self) -> None:
        self._connection.close()

    def _is_complete(self) -> bool:
        """Take frames from what has arrived, until a message is whole."""
        while not self._head or len(self._blobs) < self._head.get("blobs", 0):
            frame = self._next_frame()
            if frame is None:
                return False
            if self._head:
                self._blobs.append(frame)
            else:
                self._head = json.loads(frame)
        return True

    def _next_frame(self) -> bytes | None:
        if len(self._arrived) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._arrived)
        end = _LENGTH.size + length
        if len(self._arrived) < end:
            return None
        frame = bytes(memoryview(self._arrived)[_LENGTH.size : end])
        del self._arrived[:end]
        return frame

    def _read(self) -> None:
        arrived = os.read(self._connection.fileno(), CHUNK)
        if not arrived:
            raise EOFError
        self._arrived += arrived

    def _write(self, frame: bytes) -> None:
        rest = memoryview(_LENGTH.pack(len(frame)) + frame)
        while rest:
            rest = rest[os.write(self._connection.fileno(), rest) :]


def _output(head: dict[str, Any], blobs: Iterator[bytes]) -> Output:
    failure = head.pop("failure")
    pictures = [Picture(width, height, next(blobs)) for width, height in head.pop("pictures")]
    return Output(
        **head, pictures=pictures, failure=Failure(**failure) if failure is not None else None
    )


def _sizes(output: Output) -> list[tuple[int, int]]:
    return [(picture.width, picture.height) for picture in output.pictures]
