"""Nothing that a user names is ever part of a path; nor a name that a row was forged with."""

import json
from pathlib import Path

import pytest

from genfarm import Farm, InvalidTask
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import NotFound
from genfarm_shared.settings import Settings
from tests.client.tiny_worker import TinyWorker

HOSTILE = [
    "../../etc/x",
    "/etc/passwd",
    "..",
    "a/b\\c",
    "line\nbreak\r\n",
    "\u202etxt.exe\u0000"[:-1],
    "naïve 😀 ｆｕｌｌ",
    "$(touch x);`id`",
    "-rf",
    "CON",
    "%2e%2e%2f",
    '"; DROP TABLE tasks; --',
    "x" * 200,
]


@pytest.fixture
def farm(tmp_path: Path, broker_url: str) -> Farm:
    return Farm(Settings.load().store_url, broker_url, str(tmp_path / "artifacts"), progress=False)


def test_hostile_custom_ids_stay_inside_the_files(farm: Farm, tmp_path: Path) -> None:
    worker = TinyWorker(farm)
    inputs = [{"prompt": "x", "custom_id": name, "seed": i} for i, name in enumerate(HOSTILE)]
    with farm:
        job = farm.submit_many("text-to-image", inputs, name="../../evil")
        assert worker.work() == len(HOSTILE)
        before = set(tmp_path.rglob("*"))
        folder = job.save(tmp_path / "out")
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        rows = [
            json.loads(line)
            for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        ]
        assert {path.parent for path in set(tmp_path.rglob("*")) - before} <= {
            *(tmp_path, folder, folder / "images")
        }
        lines = job.save(tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    pictures = {f"images/{index:06d}.png" for index in range(len(HOSTILE))}
    assert names == {"README.md", "images", "metadata.jsonl", *pictures}
    assert [row["custom_id"] for row in rows] == HOSTILE
    assert [json.loads(line)["custom_id"] for line in lines] == HOSTILE


@pytest.mark.parametrize("name", ["", "nul\x00", "x" * 100_000, "half a \ud83d"])
def test_a_custom_id_that_cannot_be_kept_is_refused_at_the_door(farm: Farm, name: str) -> None:
    with farm, pytest.raises(InvalidTask, match="custom_id"):
        farm.submit_many("sleep", [{"seconds": 0.0, "custom_id": name}])


@pytest.mark.parametrize(
    "name", ["../secret.txt", "/etc/passwd", "ab/../../secret.txt", "secret.txt"]
)
def test_a_forged_artefact_reads_no_other_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    store = ArtifactStore(str(tmp_path / "artifacts"))
    kept = store.put(b"bytes", "text/plain")
    assert store.read(kept.name) == b"bytes"
    with pytest.raises(NotFound, match="no artefact's name"):
        store.read(name)
