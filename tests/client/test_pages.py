"""What people see and keep: saved folders, sheets, cards, bars."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from genfarm import Farm
from genfarm.cli.run import _deliver
from genfarm.sheet import Table, _told_apart

from .tiny_worker import TinyWorker

EVIL = "<script>alert('x')</script>"


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_pictures_are_saved_as_an_image_folder(
    farm: Farm, worker: TinyWorker, tmp_path: Path
) -> None:
    job = farm.submit_many("image", ["red", "bad", "blue"], params={"seed": 9})
    worker.work()
    folder = job.save(tmp_path / "out" / "blocks")
    rows = _lines(folder / "metadata.jsonl")
    assert [row["file_name"] for row in rows] == ["images/000000.png", "images/000002.png"]
    assert (rows[1]["prompt"], rows[1]["seed"]) == ("blue", 11)
    with Image.open(folder / "images" / "000002.png") as image:
        assert image.getpixel((0, 0)) == (11, 0, 0)
    assert _lines(folder / "errors.jsonl")[0]["custom_id"] == "000001"
    assert "imagefolder" in (folder / "README.md").read_text()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["blocks"]


def test_save_replaces_only_what_it_wrote_and_only_when_told(
    farm: Farm, worker: TinyWorker, tmp_path: Path
) -> None:
    job = farm.submit_many("gen", ["a"])
    worker.work()
    folder = job.save(tmp_path / "out")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        job.save(folder)
    assert job.save(folder, overwrite=True) == folder
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="was not written by save"):
        job.save(mine, overwrite=True)
    assert (mine / "thesis.txt").exists()


def test_texts_are_saved_as_lines(farm: Farm, worker: TinyWorker, tmp_path: Path) -> None:
    job = farm.submit_many("gen", ["a", "bad"], params={"n": 2})
    worker.work()
    rows = _lines(job.save(tmp_path / "folder") / "results.jsonl")
    assert rows[0]["texts"] == ["a 0:0", "a 1:0"]
    rows = _lines(job.save(tmp_path / "all.jsonl"))
    assert [row["custom_id"] for row in rows] == ["000000", "000001"]
    assert rows[1]["error"] == {
        "code": "invalid_params",
        "message": str(job.errors()[0]),
        "attempts": 1,
    }


def test_captions_leave_out_what_all_begin_with() -> None:
    assert _told_apart(["a red one", "a red two"]) == ["… one", "… two"]
    assert _told_apart(["a fox", "an owl"]) == ["a fox", "an owl"]
    assert _told_apart(["a fox", "a fox"]) == ["a fox", "a fox"]


def test_show_draws_a_sheet_of_pictures(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("image", ["a long caption " * 20] * 5)
    worker.work()
    sheet = job.show(4, cols=2, size=32)
    assert isinstance(sheet, Image.Image)
    assert sheet.size == (2 * 36 + 4, 2 * 50 + 4)


def test_show_lists_texts_in_a_table(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [EVIL])
    worker.work()
    table = job.show()
    assert isinstance(table, Table)
    assert repr(table).splitlines()[0].split() == ["id", "input", "output"]
    assert "<script>" not in table._repr_html_()


def test_cards_escape_what_users_wrote(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", [EVIL, "bad"], name=EVIL, metadata={"note": EVIL})
    worker.work()
    assert "<script>" not in job._repr_html_()
    assert "&lt;script&gt;" in job._repr_html_()
    assert "<script>" not in farm._repr_html_()


def test_a_job_prints_in_one_line(farm: Farm, worker: TinyWorker) -> None:
    job = farm.submit_many("gen", ["a", "bad"], name="foxes")
    assert repr(job) == f"Job foxes ({job.id})  text-generation · echo  queued 2"
    worker.work()
    said = repr(job)
    assert "succeeded 1 · failed 1 · 0:0" in said
    assert said.endswith("next: job.errors(), job.retry()")
    farm.close()
    assert repr(job).endswith("(GenfarmError)")


def test_wait_shows_a_line_where_there_is_no_terminal(
    farm: Farm, worker: TinyWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    job = farm.submit_many("gen", ["a", "b"], name="foxes")
    worker.work()
    job.wait(5, progress=True)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("foxes: 100%")
    assert "2/2" in last
    job.wait(5, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("variables", "lines"), [({"TQDM_DISABLE": "1"}, 0), ({}, 1)])
def test_the_bar_honours_tqdm_disable(variables: dict[str, str], lines: int) -> None:
    code = "from genfarm.progress import Bar\nwith Bar('x', 3, done=1) as bar: bar.move_to(3)"
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("3/3") == lines


def test_a_shell_is_told_where_the_pictures_are(
    farm: Farm,
    worker: TinyWorker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = farm.submit_many("image", ["red"])
    worker.work()
    monkeypatch.setenv("GENFARM_STORE", farm._link.address.store)
    _deliver(job, None, None, as_json=False)
    assert f"`genfarm show {job.id}` or `genfarm export {job.id} DIR`" in capsys.readouterr().err
