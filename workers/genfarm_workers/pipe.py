"""The pipe between a worker process and its engine process: JSON heads, raw bytes behind.

    to the engine     {"op": "admit", "claims": [...]}
                      {"op": "drop", "task_ids": [...]}
                      {"op": "reload", "model": key}          try a failed load once more
                      {"op": "stop"}
    to the worker     {"op": "ready", "device": "cpu", ...}
                      {"op": "loading", "model": key}
                      {"op": "loaded", "model": key, "seconds": s}
                      {"op": "unloadable", "model": key, "reason": s}
                      {"op": "stepping", "model": key}        when it is another than before
                      {"op": "shortage", "model": key, "ceilings": {batch key: tasks}}
                      {"op": "lost", "reason": s}             the device; the process ends
                      {"op": "outputs", "outputs": [...]}     pixels follow as blobs
                      {"op": "alive"}                         progress, a few times a second

Never pickle: what comes out of a model's process is data. Knows no engine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output, Picture


class Pipe:
    """One end. Not for two threads at once in the same direction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send_claims(self, claims: Sequence[Claim]) -> None:
        self.send({"op": "admit", "claims": [asdict(claim) for claim in claims]})

    def send_outputs(self, outputs: Sequence[Output]) -> None:
        pictures = [picture for output in outputs for picture in output.pictures]
        heads = [{**asdict(output), "pictures": _sizes(output)} for output in outputs]
        self.send({"op": "outputs", "outputs": heads, "blobs": len(pictures)})
        for picture in pictures:
            self._connection.send_bytes(picture.rgb)

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError when the other end is gone."""
        self._connection.send_bytes(json.dumps(message).encode())

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message, None when none came within `timeout` seconds.

        `claims` come as Claim and `outputs` as Output. Raises EOFError when
        the other end is gone.
        """
        if not self._connection.poll(timeout):
            return None
        message: dict[str, Any] = json.loads(self._connection.recv_bytes())
        if message["op"] == "admit":
            message["claims"] = [Claim(**claim) for claim in message["claims"]]
        elif message["op"] == "outputs":
            message["outputs"] = [self._output(head) for head in message["outputs"]]
        return message

    def close(self) -> None:
        self._connection.close()

    def _output(self, head: dict[str, Any]) -> Output:
        failure = head.pop("failure")
        sizes = head.pop("pictures")
        pictures = [
            Picture(width, height, self._connection.recv_bytes()) for width, height in sizes
        ]
        return Output(
            **head, pictures=pictures, failure=Failure(**failure) if failure is not None else None
        )


def _sizes(output: Output) -> list[tuple[int, int]]:
    return [(picture.width, picture.height) for picture in output.pictures]
