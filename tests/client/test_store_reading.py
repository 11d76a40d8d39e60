"""The store's verbs that the client leans on, and what hides from a reader."""

import sqlite3
import threading
from pathlib import Path

import pytest

from genfarm import Farm, NotFound, following
from genfarm.following import Unordered
from genfarm_shared.store.reading import Pace
from genfarm_shared.tasks import TERMINAL, State

from .tiny_worker import TinyWorker, states


def test_ended_tasks_are_read_on_from_the_last_one(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [f"p{i}" for i in range(10)])
    worker.work()  # one commit: all end at the same time
    store, found = farm._link.store, list[int]()
    since, last_id = 0.0, ""
    while page := store.read_ended(job.id, since, 3, last_id=last_id):
        found += [record.index for record in page]
        assert page[-1].finished_at is not None
        since, last_id = page[-1].finished_at, page[-1].id
    assert sorted(found) == list(range(10))
    assert len(store.read_ended(job.id, since, 100)) == 10  # without an id it looks back


def test_only_ended_tasks_or_some_states_are_read_when_asked(
    farm: Farm, worker: TinyWorker
) -> None:
    job = farm.submit_many("gen", ["a", "bad", "c", "d"])
    worker.work(3)
    store, ids = farm._link.store, [f"{job.id}-{i}" for i in range(4)]
    assert len(store.read_tasks(ids)) == 4
    assert {record.index for record in store.read_tasks(ids, ended=True)} == {0, 1, 2}
    failed = store.read_after(job.id, -1, 10, states={State.FAILED})
    assert [record.index for record in failed] == [1]
    assert len(store.read_after(job.id, 0, 10, states=TERMINAL)) == 2


def test_pace_counts_what_ended_of_late(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a", "b"])
    assert farm._link.store.pace(job.id, 30) == Pace(0, None)
    worker.work()
    pace = farm._link.store.pace(job.id, 30)
    assert pace.recent == 2
    assert pace.last_at is not None
    assert farm._link.store.pace(job.id, 0).recent == 0


def test_a_task_is_found_by_the_users_own_name_for_it(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [{"prompt": "a", "id": "x"}])
    assert farm._link.store.find_task(job.id, "x").index == 0
    with pytest.raises(NotFound):
        farm._link.store.find_task("other", "x")


def test_a_disowned_job_gives_its_identity_up_and_goes_on(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a"], name="mine")
    farm._link.store.disown(job.id)
    assert farm._link.store.find_job(job.id).identity is None
    assert worker.work() == 1


def test_a_result_that_becomes_visible_late_is_given_all_the_same(
    farm: Farm, worker: TinyWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "QUIET", 0.0)
    job = farm.submit_many("gen", [f"p{i}" for i in range(20)])
    reader = Unordered(farm._link.store, job.id)
    worker.work(19)
    assert len(reader.poll()) == 19
    worker.work()
    with sqlite3.connect(tmp_path / "farm.db") as database:
        database.execute("UPDATE tasks SET finished_at = 1.0 WHERE state = 'succeeded'")
    database.close()
    assert len(reader.poll()) == 1
    assert reader.poll() == []


def test_two_who_submit_the_same_at_once_share_one_job(farm: Farm, worker: TinyWorker) -> None:
    prompts = [f"p{i}" for i in range(300)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(farm.submit_many("gen", prompts).id))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert states(farm, found[0]) == {State.QUEUED: 300}
