"""An engine process that cannot be ended is given up, and its claims are not.

Nor does one that does not listen hold up who only has something to note.
"""

import socket
import threading
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


class Deaf:
    """An engine that reads nothing until the test does, as within a load."""

    pid = 0

    def __init__(self) -> None:
        ours, theirs = (Connection(end.detach()) for end in socket.socketpair())
        self.pipe, self.theirs = Pipe(ours), Pipe(theirs)
        self.hears = theirs.poll

    def is_gone(self) -> bool:
        return False

    def kill(self) -> None:
        """There is no process."""

    def end(self) -> int:
        self.pipe.close()
        self.theirs.close()
        return 0


def test_a_size_is_settled_while_the_engine_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the lease waited with it, and a healthy worker was taken for dead."""
    deaf = Deaf()
    monkeypatch.setattr(host, "spawn", lambda *_: deaf)
    place = pin("cpu", 1)
    entry = ModelEntry(key="drill", kind="drill", engine="drill", slots=16)
    engine = host.EngineHost(place, {"drill": entry}, Bench(), Prober(place, 1.0))
    engine.start()
    deaf.theirs.send({"op": "measured", "model": "drill", "rows": 4, "rate": 1.0, "how": "knee"})
    engine.receive(1.0)
    large = Claim("t", "job", 1, "drill", "drill", "drill", 1, {"text": "x" * 1_000_000}, 0)
    feeder = threading.Thread(target=engine.submit, args=([large],), daemon=True)
    feeder.start()
    assert deaf.hears(10.0)
    lease = threading.Thread(target=engine.settle, args=("drill", 4), daemon=True)
    lease.start()
    lease.join(5.0)
    assert not lease.is_alive()
    assert engine.slots() == {"drill": 4}
    ops = [deaf.theirs.receive(1.0)]
    feeder.join(5.0)
    engine.tell()
    ops.append(deaf.theirs.receive(1.0))
    assert [message["op"] for message in ops if message] == ["admit", "settle"]
    engine.bury()


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
