"""What moves through a worker while others free its tasks, and while it ends."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.store import Store
from genfarm_shared.tasks import Claim, State
from genfarm_workers.batcher import Batcher
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import choose, read_catalog
from genfarm_workers.device import Prober, pin
from genfarm_workers.goodput import Ledger
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import Held, Intake
from genfarm_workers.recorder import Recorder
from genfarm_workers.runner import Runner
from tests.shared.farmyard import add_job, add_worker, states
from tests.waiting import until


class Paused(Store):
    """Does what a test says between a claim and its answer, as other machines may."""

    between: Callable[[], object] = staticmethod(lambda: None)

    def claim(self, task_ids: Sequence[str], worker_id: str) -> list[Claim]:
        claims = super().claim(task_ids, worker_id)
        if worker_id == "w1":
            self.between()
        return claims


class Party:
    """A runner with an engine process, and the messages that a broker would bring it."""

    def __init__(self, folder: Path, ledger: Ledger | None = None) -> None:
        self.store = Paused(f"sqlite:///{folder / 'farm.db'}")
        add_worker(self.store)
        self.intake = Intake(["sleep"])
        catalog = choose(read_catalog(), ["sleep"])
        place = pin("cpu", 1)
        host = EngineHost(place, catalog, Bench(), Prober(place, 1.0))
        host.ledger = ledger or host.ledger
        recorder = Recorder(self.store, ArtifactStore(str(folder / "files")), "w1", max_attempts=3)
        self.runner = Runner("w1", self.store, self.intake, host, Batcher({"sleep": 4}), recorder)
        self._tags = iter(range(1000))

    def deliver(self) -> None:
        """Bring what is pending, as a keeper and a broker do."""
        for hint in self.store.dispatch(10):
            self.intake.receive([Held(hint, str(next(self._tags)), "", "")])


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    party = Party(tmp_path)
    party.runner.start()
    yield party
    party.runner.drain(0.0)
    party.store.close()


def test_a_task_that_is_freed_while_it_is_denied_comes_again(party: Party) -> None:
    """Else its message stayed in hand, in no line, and each later one was dropped as its double."""
    job = add_job(party.store, 1)
    add_worker(party.store, "other")
    hints: Any = party.store.dispatch(1)
    held = party.store.claim([hints[0].task_id], "other")

    def free() -> None:
        party.store.release(held, "its worker died")
        held.clear()

    party.store.between = free
    party.intake.receive([Held(hints[0], "first", "", "")])

    def has_run() -> bool:
        party.deliver()
        return states(party.store, job) == {State.SUCCEEDED: 1}

    until(has_run)


def test_nothing_is_taken_before_the_engine_runs(tmp_path: Path) -> None:
    """Others whose engines run would wait for what this one holds."""
    party = Party(tmp_path)
    assert party.runner.room("sleep") == 0
    party.runner.start()
    until(lambda: party.runner.room("sleep") == 4)
    party.runner.drain(0.0)
    party.store.close()


def test_doubles_alone_make_nothing_wait(tmp_path: Path) -> None:
    """All messages of a take may be of tasks that are in hand already."""
    party = Party(tmp_path, Ledger(count(0.0, 1.0).__next__))
    assert party.runner.offer([]) == []
    found = party.runner.report()["goodput"]["total"]
    assert (found["idle"], found["wait"]) == (1.0, 0.0)
    party.store.close()


def test_a_drain_waits_for_what_is_on_its_way_to_the_engine(party: Party) -> None:
    """Else its worker had signed off before the claims were back, and they counted as lost."""
    ending = threading.Thread(target=party.runner.drain, args=(20.0,))

    def stop() -> None:
        ending.start()
        until(lambda: party.runner.room("sleep") == 0)
        ending.join(0.5)

    party.store.between = stop
    job = add_job(party.store, 1)
    until(lambda: party.runner.room("sleep"))
    party.deliver()
    until(lambda: ending.ident is not None)
    ending.join()
    assert states(party.store, job) == {State.SUCCEEDED: 1}
