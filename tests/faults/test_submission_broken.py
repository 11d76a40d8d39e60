"""A submission that breaks off, or whose answers are lost: the same call again completes it."""

import subprocess
import sys
import threading

import pytest

from genfarm import Farm, ItemTimeout, Unreachable
from genfarm_shared.keeper import Keeper
from genfarm_shared.queue import Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from genfarm_shared.tasks import State
from tests.client.conftest import empty_store, farm  # noqa: F401  # fixtures
from tests.shared.test_store import fail_after_commit

#: A producer that never comes to seal its job.
PRODUCER = """
import sys
from genfarm import Farm
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store

def hang(*_given):
    print("inserted", flush=True)
    sys.stdin.read()

room, verb = {"seal": (Store, "seal"), "publish": (Broker, "publish")}[sys.argv.pop(1)]
setattr(room, verb, hang)
Farm(*sys.argv[1:]).submit_many("sleep", [0.0] * 1500, name="nightly")
"""


def begun_by_a_killed_producer(farm: Farm, until: str = "seal") -> None:  # noqa: F811
    """Of 1,500 tasks; it dies when it comes to that verb."""
    address = farm._link.address
    places = (address.store, address.broker, address.artifacts)
    with subprocess.Popen(
        [sys.executable, "-c", PRODUCER, until, *places],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as producer:
        assert producer.stdout is not None
        assert producer.stdout.readline() == b"inserted\n"
        producer.kill()


def test_a_producer_killed_before_the_seal_is_completed_by_the_same_call(
    farm: Farm,  # noqa: F811
) -> None:
    begun_by_a_killed_producer(farm)
    (left,) = farm._link.store.list_jobs()
    assert (left.total, left.released) == (None, False)
    job = farm.submit_many("sleep", [0.0] * 1500, name="nightly")
    assert (job.id, job.total) == (left.id, 1500)
    assert sum(job.status().counts.values()) == 1500
    # Rows of the dead producer's say queued; no message of theirs was ever sent.
    assert len(farm._link._broker.task_ids()) == 1500


def test_what_was_queued_but_not_published_is_sent_by_the_next_comparison(
    farm: Farm,  # noqa: F811
) -> None:
    farm._link.check_broker()
    store, broker = farm._link.store, farm._link._broker
    settings = Settings.load(broker=farm._link.address.broker)
    keeper = Keeper(store, broker, settings)
    keeper.tick(0.0)
    begun_by_a_killed_producer(farm, "publish")
    job = farm.job("nightly")
    assert (job.total, broker.task_ids()) == (1500, set())
    store.write(lambda c: c.exec_driver_sql("UPDATE tasks SET queued_at = queued_at - 9"))
    keeper.tick(settings.reconcile_seconds)
    assert len(broker.task_ids()) == 1500
    assert job.status().counts[State.QUEUED] == 1500


def test_what_the_broker_did_not_take_is_left_for_the_keepers(
    farm: Farm,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut_off(*_given: object) -> None:
        raise Unreachable("cut off")

    monkeypatch.setattr(Broker, "publish", cut_off)
    job = farm.submit_many("sleep", [0.0] * 3)
    assert job.status().counts[State.PENDING] == job.total == 3


def test_waiting_for_a_job_whose_producer_has_gone_says_so(
    farm: Farm,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun_by_a_killed_producer(farm)
    monkeypatch.setattr("genfarm.status.QUIET_SECONDS", 0.0)
    said = r"nightly .* its producer may have gone: .*submit it again, .*or cancel it"
    with pytest.warns(UserWarning, match=said), pytest.raises(ItemTimeout):
        farm.job("nightly").wait(0.1)


def test_a_job_that_is_still_written_is_waited_for_without_a_word(
    farm: Farm,  # noqa: F811
) -> None:
    begun_by_a_killed_producer(farm)
    with pytest.raises(ItemTimeout):  # a warning would be an error here
        farm.job("nightly").wait(0.1)


def test_a_job_left_half_written_ends_when_it_is_cancelled(farm: Farm) -> None:  # noqa: F811
    begun_by_a_killed_producer(farm)
    left = farm.job("nightly")
    assert left.cancel() == 1500
    assert left.wait(5).status().is_done
    again = farm.submit_many("sleep", [0.0] * 1500, name="nightly")
    assert (again.id != left.id, again.total) == (True, 1500)


@pytest.mark.parametrize("verb", ["open_job", "insert", "seal"])
def test_a_lost_answer_doubles_nothing(
    farm: Farm,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    store, real = farm._link.store, getattr(Store, verb)

    def losing(*args: object) -> object:
        with monkeypatch.context() as patch:
            fail_after_commit(store, patch)
            return real(store, *args)

    monkeypatch.setattr(store, verb, losing)
    job = farm.submit_many("sleep", [0.0] * 50, name="once")
    assert sum(job.status().counts.values()) == job.total == 50
    assert len(store.list_jobs()) == 1


def test_two_producers_of_one_name_write_one_job(farm: Farm) -> None:  # noqa: F811
    address, found = farm._link.address, list[str]()

    def produce() -> None:
        with Farm(address.store, address.broker, address.artifacts) as other:
            found.append(other.submit_many("sleep", [0.0] * 3000, name="both").id)

    threads = [threading.Thread(target=produce) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert len(set(found)) == 1
    assert sum(farm.job("both").status().counts.values()) == 3000
