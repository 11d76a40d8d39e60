"""What a job generated is judged by its handle and by the command."""

import json
from pathlib import Path

import pytest
from PIL import Image

from genfarm import Farm, InvalidTask
from genfarm.cli import main
from genfarm.evaluation import Evaluation
from genfarm_shared.figures import Figure
from genfarm_shared.sight import view

from .tiny_worker import TinyWorker


def at(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name that farm by the environment."""
    address = farm._link.address
    monkeypatch.setenv("GENFARM_STORE", address.store)
    monkeypatch.setenv("GENFARM_BROKER", address.broker)
    monkeypatch.setenv("GENFARM_ARTIFACTS", address.artifacts)


def test_pictures_of_a_job_are_judged_as_json_and_picture(
    farm: Farm,
    worker: TinyWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    job = farm.submit_many("image", ["the digit 7", "a red block"], params={"n": 2}, name="drawn")
    worker.work()
    at(farm, monkeypatch)
    out = tmp_path / "drawn.png"
    assert main(["evaluate", "drawn", "--json", "--out", str(out)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["job"], found["what"], found["n"]) == ("drawn", "pictures", 4)
    assert found["labels"]["7"][0] == 2
    # Of the seeds 0 and 1 two pictures each: 0, 1 and 1, 2.
    same = [pair for pair in found["pairs"] if pair["is_same"]]
    assert [(pair["first"], pair["second"]) for pair in same] == [("000000#2", "000001#1")]
    with Image.open(out) as drawn:
        assert drawn.width > 700
    assert job.status().is_done


def test_a_gif_is_a_clip_to_everyone(farm: Farm, worker: TinyWorker, tmp_path: Path) -> None:
    worker.moves = True
    job = farm.submit_many("image", ["a"], name="drawn")
    worker.work()
    (result,) = job
    assert result.images == []
    assert [video.media_type for video in result.videos] == ["image/gif"]
    assert (job.save(tmp_path / "saved") / "video/000000.gif").exists()
    record = farm._link.store.find_task(job.id, "000000")
    assert view(record)["video"] == result.artifacts[0].name
    with pytest.raises(InvalidTask, match="no picture and no text to judge"):
        job.evaluate()


def test_what_cannot_be_judged_is_said_before_models_are_loaded(
    farm: Farm,
    worker: TinyWorker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    farm.submit_many("gen", ["a"], name="told")
    farm.submit_many("floats", [[1.0]], name="counted")
    worker.work()
    with pytest.raises(InvalidTask, match="judges pictures, and these are texts"):
        farm.job("told").evaluate(inception="inception.safetensors")
    at(farm, monkeypatch)
    assert main(["evaluate", "counted"]) == 2
    assert "no picture and no text to judge" in capfd.readouterr().err
    assert main(["evaluate", "nobody"]) == 4
    assert main(["evaluate", "told", "--out", "told.gif"]) == 2


def test_an_evaluation_prints_and_draws_itself() -> None:
    figures = [
        Figure("FID judge", 12.34567, 3.2, 20, "a distance", "less"),
        Figure("KID judge", -0.01, 0.02, 20, "an unbiased distance", "less"),
        Figure("perplexity", float("inf"), None, 20, "of nothing"),
    ]
    pairs = [{"first": "a", "second": "b", "likeness": 0.934, "is_same": False}]
    found = Evaluation("mine", "pictures", 20, figures, pairs, {"7": (4, 3)}, ["no <agreement>"])
    assert found["FID judge"] == 12.34567
    for said in ("12.3", "3.2", "a distance", "93%", "75%", "no <agreement>", "-0.01"):
        assert said in repr(found)
    assert "no &lt;agreement&gt;" in found._repr_html_()
    drawn = found.show()._repr_svg_()
    assert "KID judge" in drawn
    assert "perplexity" not in drawn
    with pytest.raises(KeyError, match="there are FID judge, KID judge, perplexity"):
        found["FID"]
