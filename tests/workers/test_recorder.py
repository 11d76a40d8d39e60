"""What cannot be recorded fails alone, and pictures are files before their row is."""

import threading
from pathlib import Path

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import Failure, State
from genfarm_workers.encoding import encode_png
from genfarm_workers.engines import Output, Picture
from genfarm_workers.recorder import Ended, Recorder, RecorderThread
from tests.shared.farmyard import add_job, add_worker, ids, states


def test_a_picture_is_a_file_named_by_its_content(store: Store, tmp_path: Path) -> None:
    job = add_job(store, 1)
    add_worker(store)
    (claim,) = store.claim(ids(job, 1), "w1")
    files = ArtifactStore(str(tmp_path / "artifacts"))
    picture = Picture(2, 1, bytes([255, 0, 0, 0, 0, 255]))
    recorder = Recorder(store, files, "w1", max_attempts=3)
    recorder.record([Ended(claim, Output(claim.task_id, {}, [picture]))])
    recorder.close()
    (record,) = store.read_tasks([claim.task_id])
    assert files.read(record.artifacts[0].name) == encode_png(picture)


def test_an_output_that_is_no_json_fails_alone(store: Store, tmp_path: Path) -> None:
    job = add_job(store, 3)
    add_worker(store)
    claims = store.claim(ids(job, 3), "w1")
    outputs = [Output(claims[0].task_id, {"value": object()})]
    outputs += [Output(claim.task_id, {"value": 1}) for claim in claims[1:]]
    seen: list[Committed] = []
    told = threading.Event()

    def after(ended: object, committed: Committed) -> None:
        seen.append(committed)
        told.set()

    recorder = Recorder(store, ArtifactStore(str(tmp_path)), "w1", max_attempts=3)
    thread = RecorderThread(recorder, after)
    thread.hand_in([Ended(c, o) for c, o in zip(claims, outputs, strict=True)])
    thread.stop()
    thread.start()
    thread.join(30)
    assert told.is_set()
    assert set().union(*(committed.recorded for committed in seen)) == set(ids(job, 3))
    assert states(store, job) == {State.SUCCEEDED: 2, State.FAILED: 1}


def test_a_text_that_no_store_keeps_fails_alone_and_its_spelling_does_not(
    store: Store, tmp_path: Path
) -> None:
    values = ["\\u0000", "\\ud800", "fine", "a\x00", "\ud800", {"\x00": 1}]
    job = add_job(store, len(values) + 1)
    add_worker(store)
    claims = sorted(store.claim(ids(job, len(values) + 1), "w1"), key=lambda claim: claim.task_id)
    outputs = [
        Output(claim.task_id, {"value": [v]}) for claim, v in zip(claims, values, strict=False)
    ]
    outputs += [Output(claims[-1].task_id, failure=Failure("internal", "\ud800 said so"))]
    recorder = Recorder(store, ArtifactStore(str(tmp_path)), "w1", max_attempts=3)
    recorder.record([Ended(c, o) for c, o in zip(claims, outputs, strict=True)])
    recorder.close()
    records = store.read_after(job.id, -1, 10)
    assert [record.output for record in records[:3]] == [{"value": [v]} for v in values[:3]]
    reasons = [record.reason for record in records[3:]]
    nul, half = "its output holds a NUL character", "its output holds half a surrogate pair"
    assert reasons == [nul, half, nul, "? said so"]
