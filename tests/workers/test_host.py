"""An engine process that cannot be ended is given up, and its claims are not."""

import socket
from multiprocessing.connection import Connection

import pytest

from genfarm_shared.tasks import Claim
from genfarm_workers import host
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.device import Prober, pin
from genfarm_workers.pipe import Pipe
from tests.waiting import until


class Undead:
    """An engine that waits for a sick driver in the middle of a message: no signal ends it."""

    pid = 0

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        self.pipe = Pipe(Connection(ours.detach()))
        Pipe(Connection(self._theirs.dup().detach())).send({"op": "ready"})
        self._theirs.sendall(bytes([0, 0, 0, 0, 0, 0, 1, 0]) + b"half a message")

    def is_gone(self) -> bool:
        return False

    def kill(self) -> None:
        """In vain."""

    def end(self) -> int:
        self.pipe.close()
        self._theirs.close()
        return -9


def test_an_engine_that_no_signal_ends_is_buried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its worker beat for ever and did nothing."""
    monkeypatch.setattr(host, "spawn", lambda *_: Undead())
    place = pin("cpu", 1)
    entry = ModelEntry(key="drill", kind="drill", engine="drill", slots=4, stall_seconds=0.3)
    engine = host.EngineHost(place, {"drill": entry}, Bench(), Prober(place, 1.0))
    engine.start()
    claim = Claim("t", "job", 1, "drill", "drill", "drill", 1, {}, 0)
    assert engine.receive(1.0) == []
    assert engine.submit([claim])
    until(lambda: engine.receive(0.1) is None)
    death = engine.bury()
    assert death.was_hung
    assert death.held == [claim]
