"""The pipe between a worker process and its engine process: JSON heads, raw bytes behind.

    to the engine     {"op": "admit", "claims": [...]}        the values of each; files as blobs
                      {"op": "drop", "task_ids": [...]}
                      {"op": "reload", "model": key}          try a failed load once more
                      {"op": "watch", "task_ids": [...]}      tell of those, and of no others
                      {"op": "settle", "model": key, "rows": n}   what all workers use
                      {"op": "stop"}
    to the worker     {"op": "ready", "device": "cpu", ...}
                      {"op": "loading", "model": key}
                      {"op": "measured", "model": key, "rows": n, "rate": r, "how": s}
                      {"op": "loaded", "model": key, "seconds": s, "reload": s, "bytes": n,
                       "digest": sha256}                 of the model's files
                      {"op": "wanting", "model": key, "bytes": n}   tasks, and no room for it
                      {"op": "evicted", "model": key, "parked": bool}
                      {"op": "unloadable", "model": key, "reason": s}
                      {"op": "stepping", "model": key}        when it is another than before
                      {"op": "shortage", "model": key, "ceilings": {batch key: tasks}}
                      {"op": "lost", "reason": s}             the device; the process ends
                      {"op": "outputs", "outputs": [...]}     pixels, samples as blobs
                      {"op": "glimpses", "glimpses": [...]}   of watched tasks; pixels as blobs
                      {"op": "alive", "spent": {account: s}}  progress, a few times a second

Each head and each blob stands behind its length, 8 bytes. `Connection` could do
that too, but reads a message to its end once it has begun, and who watches an
engine must not wait for one that is frozen within a message.

Never pickle: what comes out of a model's process is data. Knows no engine.
"""

import json
import os
import selectors
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Clip, Glimpse, Media, Output, Picture, Sound

#: Bytes read at a time; a socket's buffer holds some 200 KiB.
CHUNK = 1 << 18

_LENGTH = struct.Struct("!Q")

#: What may follow an output: its class by name, and the field that travels as a blob.
_MEDIA: Mapping[str, tuple[type[Any], str]] = {
    "picture": (Picture, "rgb"),
    "sound": (Sound, "samples"),
    "clip": (Clip, "rgb"),
}
_NAMES = {made: name for name, (made, _) in _MEDIA.items()}

#: The values of a claim in the order of its fields, but for its files, which stand last:
#: `asdict` copies what it finds, and takes ten times longer than the JSON.
_values_of_claim = attrgetter(*(field.name for field in fields(Claim) if field.name != "files"))


class Pipe:
    """One end. Not for two threads at once in the same direction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: Kept, for `Connection.poll` would make one for each call.
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        #: What has arrived of messages that are not complete.
        self._arrived = bytearray()
        #: Of the message that is arriving: its head, and its blobs so far.
        self._head: dict[str, Any] = {}
        self._blobs: list[bytes] = []

    def send_claims(self, claims: Sequence[Claim]) -> None:
        message = {"op": "admit", "claims": [*map(_values_of_claim, claims)]}
        if any(claim.files for claim in claims):
            blobs = [content for claim in claims for content in claim.files.values()]
            self._send_with(blobs, {**message, "files": [[*claim.files] for claim in claims]})
        else:
            self.send(message)

    def send_outputs(self, outputs: Sequence[Output]) -> None:
        blobs = [_blob(media) for output in outputs for media in output.files]
        heads = [_head(output) for output in outputs]
        self._send_with(blobs, {"op": "outputs", "outputs": heads})

    def send_glimpses(self, glimpses: Sequence[Glimpse]) -> None:
        pictures = [glimpse.picture.rgb for glimpse in glimpses if glimpse.picture is not None]
        heads = [{**asdict(glimpse), "picture": _size(glimpse.picture)} for glimpse in glimpses]
        self._send_with(pictures, {"op": "glimpses", "glimpses": heads})

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError when the other end is gone."""
        self._write(json.dumps(message).encode())

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message, None when none was complete within `timeout` seconds.

        `claims` come as Claim, `outputs` as Output and `glimpses` as Glimpse. Raises EOFError
        when the other end is gone.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._is_complete():
            rest = None if until is None else max(until - time.monotonic(), 0.0)
            if not self._selector.select(rest):
                return None
            self._read()
        message, blobs = self._head, iter(self._blobs)
        self._head, self._blobs = {}, []
        if message["op"] == "admit":
            message["claims"] = [Claim(*values) for values in message["claims"]]
            for claim, names in zip(message["claims"], message.pop("files", ()), strict=False):
                claim.files.update((name, next(blobs)) for name in names)
        elif message["op"] == "outputs":
            message["outputs"] = [_output(blobs, *head) for head in message["outputs"]]
        elif message["op"] == "glimpses":
            message["glimpses"] = [_glimpse(head, blobs) for head in message["glimpses"]]
        return message

    def close(self) -> None:
        self._selector.close()
        self._connection.close()

    def _send_with(self, blobs: Sequence[bytes], message: Mapping[str, Any]) -> None:
        self.send({**message, "blobs": len(blobs)})
        for blob in blobs:
            self._write(blob)

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
        # Joined they would be copied, and a frame may be a file of many megabytes.
        length = _LENGTH.pack(len(frame))
        sent = os.writev(self._connection.fileno(), (length, frame))
        for part, done in ((length, sent), (frame, max(sent - len(length), 0))):
            rest = memoryview(part)[done:]
            while rest:
                rest = rest[os.write(self._connection.fileno(), rest) :]


def _head(output: Output) -> tuple[object, ...]:
    """An output without its pixels and samples, as `_output` takes it."""
    files = [_form(media) for media in output.files]
    failure = asdict(output.failure) if output.failure is not None else None
    return output.task_id, output.output, files, failure, output.metrics


def _output(  # the parts of a head, and what came behind it
    blobs: Iterator[bytes],
    task_id: str,
    output: dict[str, Any] | None,
    files: Sequence[tuple[str, dict[str, Any]]],
    failure: dict[str, Any] | None,
    metrics: dict[str, Any],
) -> Output:
    media = [_media(name, form, next(blobs)) for name, form in files]
    failed = Failure(**failure) if failure is not None else None
    return Output(task_id, output, media, failed, metrics)


def _form(media: Media) -> tuple[str, dict[str, Any]]:
    """What it is, and all of it but its blob."""
    name = _NAMES[type(media)]
    _, blob = _MEDIA[name]
    told = {field.name: getattr(media, field.name) for field in fields(media)}
    del told[blob]
    return name, told


def _blob(media: Media) -> bytes:
    _, blob = _MEDIA[_NAMES[type(media)]]
    found: bytes = getattr(media, blob)
    return found


def _media(name: str, form: dict[str, Any], content: bytes) -> Media:
    made, blob = _MEDIA[name]
    media: Media = made(**form, **{blob: content})
    return media


def _glimpse(head: dict[str, Any], blobs: Iterator[bytes]) -> Glimpse:
    picture = None
    if (size := head.pop("picture")) is not None:
        width, height = size
        picture = Picture(width, height, next(blobs))
    return Glimpse(**head, picture=picture)


def _size(picture: Picture | None) -> tuple[int, int] | None:
    return (picture.width, picture.height) if picture is not None else None
