"""Requests to an HTTP server from many threads, each on a connection of its own."""

import http.client
import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from genfarm.benchmark.frame import PeerFailed

#: Seconds that one answer may take.
PATIENCE = 3600.0


def post_all(port: int, path: str, tasks: Sequence[Mapping[str, Any]], threads: int) -> float:
    """Send every task, `threads` at a time; seconds from the first sent to the last answer.

    Raises PeerFailed when one is refused.
    """
    waiting: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    faults: list[str] = []
    clients = [
        threading.Thread(target=_post, args=(port, path, waiting, faults)) for _ in range(threads)
    ]
    began = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - began
    if faults:
        raise PeerFailed(f"{len(faults)} requests to {path} failed: {faults[0]}")
    return seconds


def await_server(port: int, path: str, seconds: float) -> None:
    """Return when `GET path` is answered with 200. Raises PeerFailed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # not up yet
        finally:
            connection.close()
        time.sleep(0.1)
    raise PeerFailed(f"nothing answers GET {path} on port {port} within {seconds:g} s")


def _post(
    port: int, path: str, waiting: "queue.SimpleQueue[Mapping[str, Any]]", faults: list[str]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        while not faults:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            body = json.dumps(task)
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                faults.append(f"{answer.status}: {text[:200]!r}")
    except OSError as error:
        faults.append(repr(error))
    finally:
        connection.close()
