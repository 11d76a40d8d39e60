"""Memory that runs out: halved in place, remembered beyond the engine, and a reason at last."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from genfarm.cli import main
from genfarm_shared.tasks import State
from tests.faults.drills import registry
from tests.waiting import until
from tests.yard import Yard


def test_a_ceiling_is_found_in_place_and_outlives_the_engine(
    yard: Yard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = yard.start_worker("drill", registry=registry(tmp_path, drill={}))
    job = yard.submit("drill", *[{"fault": "oom-batch", "seconds": 0.2}] * 12)
    until(lambda: yard.finished(job))
    assert yard.states(job) == {State.SUCCEEDED: 12}
    assert yard.store.count_attempts([job]) == {"succeeded": 12}
    until(lambda: report(yard)["in_hand"] == 0)
    found = report(yard)
    assert found["shortages"] > 0
    assert 0 < found["ceilings"]["drill"] <= 4
    os.kill(found["engine_pid"], signal.SIGKILL)
    until(lambda: report(yard)["engine_pid"] not in (found["engine_pid"], None))
    again = yard.submit("drill", *[{"fault": "oom-batch", "seconds": 0.2}] * 12)
    alone = yard.submit("drill", {"fault": "oom"})
    until(lambda: yard.finished(again) and yard.finished(alone))
    assert yard.states(again) == {State.SUCCEEDED: 12}
    (record,) = yard.store.read_after(alone, -1, 1)
    assert (record.reason_code, record.attempt) == ("oom", 1)
    assert "Lower its size or the model's slots" in (record.reason or "")
    until(lambda: report(yard)["shortages"] == found["shortages"] + 1)  # that of the lone task
    assert main(["workers", "ls", "--json"]) == 0
    (shown,) = json.loads(capfd.readouterr().out)
    assert (shown["id"], shown["report"]["ceilings"]) == (worker.id, found["ceilings"])


def report(yard: Yard) -> dict[str, Any]:
    return dict(yard.store.list_workers()[0].report)
