"""Finding a farm, and finding none."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import genfarm
from genfarm import Farm, InvalidSetting, Unreachable
from genfarm_shared.tasks import State

from .tiny_worker import TinyWorker


def test_without_any_farm_the_error_says_how_to_get_one() -> None:
    with pytest.raises(Unreachable, match=r"genfarm up.*GENFARM_BROKER"):
        Farm()


def test_a_broker_that_is_down_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with Farm(f"sqlite:///{tmp_path / 'farm.db'}", "redis://127.0.0.1:1/0") as farm:
        with pytest.raises(Unreachable, match=r"redis://127.0.0.1:1/0 does not answer"):
            farm.submit_many("sleep", [1.0])
        with pytest.raises(Unreachable):
            farm.submit_many("sleep", iter([1.0]))
        assert farm.jobs() == []


def test_a_farm_that_is_down_can_still_be_read(
    farm: Farm, worker: TinyWorker, tmp_path: Path
) -> None:
    job = farm.submit_many("gen", ["a"], name="mine")
    worker.work()
    with Farm(f"sqlite:///{tmp_path / 'farm.db'}") as reader:
        assert [result.text for result in reader.job("mine")] == ["a 0:0"]
        with pytest.raises(Unreachable, match="has no broker"):
            reader.job(job.id).retry()


def test_a_bad_url_is_a_bad_setting() -> None:
    with pytest.raises(InvalidSetting, match="GENFARM_BROKER"):
        Farm(broker="http://nowhere")


def test_environment_and_flags_name_the_farm(
    monkeypatch: pytest.MonkeyPatch, broker_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", broker_url)
    monkeypatch.setenv("GENFARM_STORE", "sqlite:////nowhere/farm.db")
    with Farm(f"sqlite:///{tmp_path / 'flag.db'}") as farm:
        assert farm.jobs() == []
        assert "flag.db" in repr(farm)


def test_a_farm_never_prints_a_password() -> None:
    with Farm("postgresql+psycopg://u:pw1@db/farm", "redis://:pw2@queue/0") as farm:
        assert "pw1" not in repr(farm)
        assert "pw2" not in repr(farm)


def test_a_farm_is_pickled_by_its_address(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a"])
    with pickle.loads(pickle.dumps(farm)) as copy:  # noqa: S301
        assert copy.job(job.id).total == 1


def test_models_workers_and_backlog_are_what_the_store_says(farm: Farm, worker: TinyWorker) -> None:
    farm.submit_many("gen", ["a", "b"])
    assert [w.node for w in farm.workers()] == ["cpu0@test"]
    assert [(m.key, m.is_default, m.workers) for m in farm.models()][:2] == [
        ("blocks", True, 1),
        ("echo", True, 1),
    ]
    assert farm.stats() == {"echo": {State.QUEUED: 2}}


def test_the_face_is_small() -> None:
    assert {"Farm", "Job", "Item", "Result"} <= set(genfarm.__all__)
    assert len(genfarm.__all__) == 21
    assert all(getattr(genfarm, name) for name in genfarm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Pony'"):
        genfarm.Pony  # noqa: B018


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, genfarm; "
        "print([m for m in ('torch', 'celery', 'pandas', 'sqlalchemy', 'pydantic') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
