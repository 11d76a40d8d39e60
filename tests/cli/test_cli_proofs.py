"""`audit`, `fsck` and the list of faults: a farm that is down can still be proven."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from genfarm.fsck import Shelf
from genfarm_shared.schema import tasks
from genfarm_shared.store import Store
from genfarm_shared.tasks import JobRecord, Outcome
from tests.shared.farmyard import add_job, add_worker, ids

from .conftest import Genfarm


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of a farm."""

    store: Store
    shelf: Shelf
    job: JobRecord

    def picture(self) -> Path:
        return next(
            Path(self.shelf.path(file.name)) for file in self.shelf.walk() if ".png" in file.name
        )


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A home whose farm is down, with one job of two tasks and a picture."""
    home = tmp_path / "home"
    store, shelf = Store(f"sqlite:///{home / 'farm.db'}"), Shelf(str(home / "artifacts"))
    job = add_job(store, 2, name="night")
    add_worker(store)
    picture = shelf.put(b"a picture", "image/png")
    claims = store.claim(ids(job, 2), "w1")
    done = [Outcome(c.task_id, c.attempt, {"value": 1}, artifacts=(picture,)) for c in claims]
    store.commit(done, "w1", max_attempts=3)
    store.retire("w1", "stopped")
    yield Kept(store, shelf, job)
    store.close()


def test_an_audit_is_a_statement_that_a_person_can_keep(genfarm: Genfarm, kept: Kept) -> None:
    said = genfarm("audit", "night")
    assert said.code == 0, said.err
    assert f"Audit of job night ({kept.job.id})" in said.out
    assert "inputs     2, and 2 rows: 2 succeeded" in said.out
    assert said.out.count("holds") == 7
    assert "max_attempts 5" in said.out
    record = json.loads(genfarm("audit", kept.job.id, "--json").out)
    assert (record["violations"], record["results"], record["artifacts"]) == (0, 2, 2)


def test_an_audit_that_finds_something_is_exit_code_1(genfarm: Genfarm, kept: Kept) -> None:
    kept.store.write(
        lambda c: c.execute(update(tasks).where(tasks.c.index == 1).values(state="cancelled"))
    )
    said = genfarm("audit", "night")
    assert said.code == 1
    assert "VIOLATION I7" in said.out
    assert ids(kept.job, 2)[1] in said.out


def test_an_audit_of_nothing_is_exit_code_4(genfarm: Genfarm, kept: Kept) -> None:
    said = genfarm("audit", "no-such-job")
    assert (said.code, said.out) == (4, "")
    assert "no-such-job" in said.err


def test_fsck_finds_what_is_damaged(genfarm: Genfarm, kept: Kept) -> None:
    said = genfarm("fsck")
    assert said.code == 0
    assert said.out.splitlines() == [
        "SOUND: every file that a result names is there and whole",
        "2 results with 1 file, 9 bytes",
    ]
    kept.picture().write_bytes(b"a pictUre")
    assert genfarm("fsck").code == 1
    kept.picture().unlink()
    record = json.loads(genfarm("fsck", "--json").out)
    assert [fault["task"] for fault in record["faults"]] == ids(kept.job, 2)


def test_fsck_removes_old_orphans_and_halves_alone(genfarm: Genfarm, kept: Kept) -> None:
    orphan = Path(kept.shelf.path(kept.shelf.put(b"nobody's", "image/png").name))
    young = Path(kept.shelf.path(kept.shelf.put(b"on its way", "image/png").name))
    half = Path(kept.shelf.path(f"tmp/{'0a' * 16}"))
    foreign = [Path(kept.shelf.path(name)) for name in ("notes.txt", "2026/11.txt", "tmp/mine")]
    for path in (half, *foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"hal")
    for path in (orphan, half, kept.picture(), *foreign):
        os.utime(path, (1.0, 1.0))
    record = json.loads(genfarm("fsck", "--json").out)
    assert (record["orphans"], record["halves"], record["deleted"]) == (1, 1, 0)
    assert (record["foreign"], record["idle_bytes"]) == (3, 11)
    record = json.loads(genfarm("fsck", "--delete-orphans", "--json").out)
    assert (record["deleted"], record["faults"]) == (2, [])
    assert not orphan.exists()
    assert not half.exists()
    assert all(path.exists() for path in foreign)
    assert young.exists()
    assert genfarm("fsck").code == 0


def test_fsck_deletes_nothing_while_workers_live(genfarm: Genfarm, kept: Kept) -> None:
    add_worker(kept.store, "w2")
    said = genfarm("fsck", "--delete-orphans")
    assert said.code == 2
    assert "end them first" in said.err


def test_the_faults_are_listed_and_an_unknown_one_is_refused(genfarm: Genfarm) -> None:
    listed = json.loads(genfarm("torture", "--faults", "list", "--json").out)
    assert {"kill-worker", "flush", "db-lock"} <= {fault["name"] for fault in listed}
    needs = {fault["name"]: fault["needs"] for fault in listed if fault["needs"]}
    assert needs == {"db-restart": "--store postgresql", "disk-full": "Linux"}
    said = genfarm("torture", "--faults", "kill-worker,sunshine")
    assert said.code == 2
    assert "'sunshine'" in said.err
    assert "--faults list" in said.err


def test_a_torture_touches_no_folder_that_is_in_use(genfarm: Genfarm, kept: Kept) -> None:
    home = Path(kept.shelf.path("")).parent
    (home / "models.toml").write_text("# mine")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    said = genfarm("torture", "--home", home)
    assert (said.code, "not empty" in said.err) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_a_torture_of_no_kind_of_store_writes_nothing(genfarm: Genfarm, tmp_path: Path) -> None:
    said = genfarm("torture", "--home", tmp_path / "new", "--store", "mysql://host/base")
    assert (said.code, "expected sqlite, postgresql" in said.err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_a_running_job_is_proven_as_far_as_it_has_come(genfarm: Genfarm, kept: Kept) -> None:
    job = add_job(kept.store, 3, name="day")
    add_worker(kept.store, "w2")
    kept.store.claim(ids(job, 1), "w2")
    said = genfarm("audit", "day")
    assert said.code == 0
    assert "3 of 3 have not ended yet: audit again when the job has ended" in said.out
    assert "files      none" in said.out
    record = json.loads(genfarm("audit", "day", "--json").out)
    assert (record["open"], record["ok"], record["violations"]) == (3, True, 0)


@pytest.mark.parametrize("command", [("audit", "night"), ("fsck",)])
def test_a_file_that_cannot_be_read_is_damaged_and_the_rest_is_looked_at(
    genfarm: Genfarm, kept: Kept, command: tuple[str, ...]
) -> None:
    picture = kept.picture()
    picture.unlink()
    picture.mkdir()  # refuses root as well
    said = genfarm(*command, "--json")
    assert said.code == 1
    record = json.loads(said.out)
    assert record["ok"] is False
    words = [fault["said"] for fault in record.get("faults", record.get("breaches"))]
    assert len([w for w in words if "cannot be read" in w]) == 2
