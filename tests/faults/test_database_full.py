"""A full disk: results wait, work goes on by itself, a submission is whole or not at all."""

import resource
import threading
from pathlib import Path

import psutil
import pytest
from sqlalchemy import event

from genfarm import Farm, Unreachable
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import State
from genfarm_workers.engines import Output, Picture
from genfarm_workers.recorder import Ended, Recorder, RecorderThread
from tests.client.conftest import empty_store, farm  # noqa: F401  # fixtures
from tests.shared.farmyard import add_job, add_worker, ids, states
from tests.waiting import until
from tests.yard import Yard


def test_results_wait_while_the_disk_is_full(yard: Yard, tmp_path: Path) -> None:
    """The worker's files may not grow: what it writes to the database fails as on a full disk."""
    worker = yard.start_worker("sleep")
    job = yard.submit("sleep", *[0.5] * 20)
    until(lambda: len(yard.store.still_mine(worker.id)) == 20)
    wal, log = tmp_path / "home" / "farm.db-wal", tmp_path / "worker0.log"
    process = psutil.Process(worker.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (wal.stat().st_size, resource.RLIM_INFINITY))
    until(lambda: "results wait in memory" in log.read_text())
    assert "has no room" in log.read_text()
    assert yard.states(job) == {State.RUNNING: 20}
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: yard.finished(job))
    assert yard.store.count_attempts([job]) == {"succeeded": 20}
    assert [(w.id, w.state) for w in yard.store.list_workers()] == [(worker.id, "alive")]


def test_a_submission_that_fills_the_database_is_undone_or_completed(
    farm: Farm,  # noqa: F811
) -> None:
    store = farm._link.store
    store.patience = 0.1
    pages = [store.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one()) + 200]

    @event.listens_for(store._engine, "begin")
    def limit(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages[-1]}")  # type: ignore[attr-defined]

    with pytest.raises(Unreachable, match=r"has no room: database or disk is full.*same call"):
        farm.submit_many("sleep", [0.0] * 5000, name="big")
    assert not [job for job in store.list_jobs() if job.released]
    pages.append(1_000_000)
    assert farm.submit_many("sleep", [0.0] * 5000, name="big").total == 5000
    assert len(store.list_jobs()) == 1


def test_a_picture_waits_for_an_artefact_store_that_refuses(store: Store, tmp_path: Path) -> None:
    job = add_job(store, 1)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    place = tmp_path / "artifacts"
    place.write_text("in the way")  # root may write where others may not, but not below a file
    ended: list[Committed] = []
    recorder = Recorder(store, ArtifactStore(str(place)), "w1", max_attempts=3)
    thread = RecorderThread(recorder, lambda _ended, committed: ended.append(committed))
    refused = threading.Event()
    keep = recorder.record

    def record(outputs: object) -> Committed:
        try:
            return keep(outputs)  # type: ignore[arg-type]
        except Unreachable:
            refused.set()
            raise

    recorder.record = record  # type: ignore[method-assign,assignment]
    thread.start()
    thread.hand_in([Ended(claim, Output(claim.task_id, {}, [Picture(1, 1, bytes(3))]))])
    thread.stop()
    assert refused.wait(30)
    assert states(store, job) == {State.RUNNING: 1}
    place.unlink()
    thread.join(30)
    assert ended[0].recorded == {claim.task_id}
