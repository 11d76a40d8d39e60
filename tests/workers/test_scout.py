"""What a worker sees of queues and of other workers, and what it shares with its like."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.tasks import Hint
from genfarm_workers.bench import Bench
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.device import Prober, name_device, pin
from genfarm_workers.engines import Knee
from genfarm_workers.fleet import Fleet
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import Intake
from genfarm_workers.residency import Residency
from genfarm_workers.scout import Scout
from tests.shared.farmyard import add_worker

PLACE = pin("cpu", 1)
CATALOG = {
    key: ModelEntry(key=key, kind="text-generation", engine="text", source="/a/b/c") for key in "ab"
}


class Party:
    """A worker whose engine is played by the test: it holds `a` and has no room for `b`."""

    def __init__(self, store: Store, broker_url: str, worker_id: str = "w5") -> None:
        self.store = store
        self.broker = Broker(broker_url)
        self.residency = Residency({"a": 10, "b": 10}, 10)
        self.fleet = Fleet(store, worker_id, name_device(PLACE), CATALOG)
        catalog = self.fleet.sized()
        bench = Bench(lambda: 0.0)  # what rests has not rested enough until the test is over
        self.host = EngineHost(PLACE, catalog, bench, Prober(PLACE, 1.0), self.residency)
        self.host.remember(self.fleet.shortages())
        self.scout = Scout(worker_id, store, self.broker, Intake("ab"), self.host, self.fleet)
        self.hear(op="loaded", model="a", bytes=10, seconds=9.0, reload=0.001)

    def hear(self, **message: Any) -> None:
        self.host._handle(message)

    def queue(self, model: str, number: int) -> None:
        self.broker.publish([Hint(f"j-{n}", "k", model, model, 1) for n in range(number)])


@pytest.fixture
def party(store: Store, broker_url: str) -> Iterator[Party]:
    found = Party(store, broker_url)
    yield found
    found.broker.close()


def test_a_worker_turns_to_a_long_queue_that_nobody_serves(party: Party) -> None:
    party.queue("b", 5)
    assert party.broker.backlog(["a", "b"]) == {"a": 0, "b": 5}
    party.scout.look()
    assert (party.residency.is_open("a"), party.residency.is_open("b")) == (False, True)


def test_no_worker_turns_to_a_model_that_rests_after_a_failed_load(party: Party) -> None:
    """Else it took nothing of any model until the rest was over."""
    party.hear(op="unloadable", model="b", reason="no files")
    party.queue("b", 5)
    party.scout.look()
    assert (party.residency.is_open("a"), party.residency.is_open("b")) == (True, False)


@pytest.mark.parametrize(
    ("report", "is_left"),
    [
        ({"residency": {"open": ["b"]}}, True),
        ({"residency": {"open": ["b"]}, "parked": "no device"}, False),
        ({"residency": {"open": ["b"]}, "crash_loop": {"b": "no files"}}, False),
        ({}, False),
    ],
)
def test_a_queue_that_another_serves_is_left_to_it(
    party: Party, report: Mapping[str, Any], is_left: bool
) -> None:
    add_worker(party.store, "w9")
    party.store.beat("w9", report)
    party.queue("b", 5)
    party.scout.look()
    assert party.residency.is_open("b") is not is_left


def test_of_workers_that_agree_on_a_size_the_first_was_heard(party: Party, broker_url: str) -> None:
    second = Party(party.store, broker_url, "w6")
    for worker, rows in ((party, 32), (second, 64)):
        worker.hear(op="measured", model="a", rows=rows, rate=1.0, how="knee")
        assert worker.host.measured() == {"a": Knee(rows, 1.0, "knee")}
        worker.scout.look()
        assert (worker.host.slots()["a"], worker.host.measured()) == (32, {})
    third = Party(party.store, broker_url, "w7")
    assert third.host.slots() == {"a": 32, "b": 16}
    second.broker.close()
    third.broker.close()


def test_a_pinned_size_is_nobodys_to_change(store: Store) -> None:
    pinned = {"a": CATALOG["a"].model_copy(update={"slots": 3})}
    fleet = Fleet(store, "w1", "cpu", pinned)
    fleet.agree("a", Knee(8, 1.0))
    assert fleet.sized()["a"].slots == 3


def test_where_memory_ran_out_is_known_to_workers_that_come_after(
    party: Party, broker_url: str
) -> None:
    party.hear(op="shortage", model="a", ceilings={"a|512": 4})
    party.scout.look()
    after = Party(party.store, broker_url, "w8")
    assert after.host.ceilings() == {"a": {"a|512": 4}}
    (written,) = party.store.list_ceilings()
    assert (written.rows, written.how, written.worker_id) == (4, "out of memory", "w5")
    after.scout.look()  # what it was told is no news
    assert party.store.list_ceilings() == [written]
    after.broker.close()


def test_a_size_is_of_one_source_and_one_kind_of_device(store: Store) -> None:
    Fleet(store, "w1", "cpu:x1", CATALOG).agree("a", Knee(8, 1.0))
    other = {"a": replace_source(CATALOG["a"], "/d/e/f")}
    assert Fleet(store, "w2", "cpu:x1", other).sized()["a"].slots == 16
    assert Fleet(store, "w2", "cpu:x2", CATALOG).sized()["a"].slots == 16
    assert Fleet(store, "w2", "cpu:x1", CATALOG).sized()["a"].slots == 8


def replace_source(entry: ModelEntry, source: str) -> ModelEntry:
    return entry.model_copy(update={"source": source})
