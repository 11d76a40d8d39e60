"""GANs and VAE: trainings that resume, a user's pictures, and what the shipped models draw."""

import gzip
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genfarm_shared.errors import InvalidSetting
from genfarm_workers import zoo
from genfarm_workers.engines.generators import load_generator
from genfarm_workers.zoo.__main__ import main
from genfarm_workers.zoo.digits.data import real_digits, training_digits_like
from genfarm_workers.zoo.generators import settling
from genfarm_workers.zoo.generators.checkpoint import NAME
from genfarm_workers.zoo.generators.evaluate import GeneratorMetrics, OwnMetrics, measure_generator
from genfarm_workers.zoo.generators.sheets import draw_map
from genfarm_workers.zoo.generators.sources import find_pictures
from genfarm_workers.zoo.training import Plan

NAMES = ("gan", "dcgan", "vae")


class Broken(Exception):
    """Ends a training in the middle."""


@pytest.fixture(autouse=True)
def _settle_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking batch norms anew costs more than the few steps of these trainings."""
    monkeypatch.setattr(settling, "BATCHES", 2)


def break_off(name: str, plan: Plan, at: int) -> None:
    """Begin the training of that plan and end it within its step `at`."""
    from genfarm_workers.zoo.generators import gan, vae

    lesson: Any = vae.VaeLesson if name == "vae" else gan.GanLesson
    whole = lesson.advance

    def advance(self: object, step: int) -> object:
        if step == at:
            raise Broken
        return whole(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "advance", advance)
        with pytest.raises(Broken):
            zoo.room(name).train(plan)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_ends_at_the_weights_of_an_unbroken_one(
    name: str, tmp_path: Path
) -> None:
    room = zoo.room(name)
    room.train(Plan(tmp_path / "whole", 1, 3, 1, every=2))
    break_off(name, Plan(tmp_path / "broken", 1, 3, 1, every=2), at=2)
    assert (tmp_path / "broken" / NAME).is_file()
    room.train(Plan(tmp_path / "broken", 1, 3, 1, every=2, resume=True))
    for file in ("model.safetensors", "samples.png", "losses.png"):
        whole, resumed = (tmp_path / run / file for run in ("whole", "broken"))
        assert whole.read_bytes() == resumed.read_bytes()
    assert not (tmp_path / "broken" / NAME).exists()


def test_a_checkpoint_goes_on_only_with_its_own_plan(tmp_path: Path) -> None:
    break_off("gan", Plan(tmp_path, 1, 4, 1, every=2), at=3)
    with pytest.raises(InvalidSetting, match="steps 4, not 6"):
        zoo.room("gan").train(Plan(tmp_path, 1, 6, 1, resume=True))
    (tmp_path / NAME).write_bytes(b"torn")
    with pytest.raises(InvalidSetting, match="cannot be read"):
        zoo.room("gan").train(Plan(tmp_path, 1, 4, 1, resume=True))


def test_without_a_checkpoint_there_is_nothing_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vae", "--out", str(tmp_path), "--steps", "2", "--resume"]) == 2
    assert "no training there was broken off" in capsys.readouterr().err


def test_a_model_of_no_pictures_takes_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "stories", "--data", "x"]) == 2
    assert "gan, dcgan, vae" in capsys.readouterr().err


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Red cats and dark dogs, wide and high."""
    for place, (name, colour) in enumerate((("cat", "red"), ("dog", "black"))):
        folder = tmp_path / "pets" / name
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (20 + number, 40 - 5 * place), colour).save(folder / f"{number}.png")
    return tmp_path / "pets"


def test_folders_in_a_folder_are_classes(pets: Path) -> None:
    pictures = find_pictures(pets, 28)
    assert pictures.names == ("cat", "dog")
    assert pictures.pixels.shape == (20, 3, 28, 28)
    assert pictures.pixels[0, :, 0, 0].tolist() == [255, 0, 0]
    assert pictures.labels.tolist() == [0] * 10 + [1] * 10
    assert pictures.paper() is None


def test_pictures_of_one_folder_have_no_classes_and_may_be_grey(pets: Path) -> None:
    pictures = find_pictures(_flat(pets), 32)
    assert pictures.names == ()
    assert pictures.pixels.shape == (20, 1, 32, 32)
    assert pictures.paper() == -1.0


def _flat(pets: Path) -> Path:
    flat = pets / "dog"
    for number in range(10):
        Image.new("L", (9, 9), 3 * number).save(flat / f"grey{number}.bmp")
    return flat


def write_idx(path: Path, values: torch.Tensor) -> Path:
    head = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
    content = head + bytes(values.flatten().tolist())
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("end", ["", ".gz"])
def test_an_mnist_pair_is_read_by_file_and_by_folder(end: str, tmp_path: Path) -> None:
    values = torch.randint(256, (30, 28, 28))
    file = write_idx(tmp_path / f"train-images-idx3-ubyte{end}", values)
    write_idx(tmp_path / f"train-labels-idx1-ubyte{end}", torch.arange(30) % 3)
    write_idx(tmp_path / f"t10k-images-idx3-ubyte{end}", values)
    for data in (file, tmp_path):
        pictures = find_pictures(data, 28)
        assert pictures.pixels[:, 0].equal(values.to(torch.uint8))
        assert pictures.labels.tolist() == [k % 3 for k in range(30)]
        assert list(pictures.names) == ["0", "1", "2"]
    assert find_pictures(file, 32).pixels.shape == (30, 1, 32, 32)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG", "two zero bytes"),
        (struct.pack(">HBB3I", 0, 8, 3, 20, 9, 9) + b"\0" * 20, "says 20 x 9 x 9"),
        (struct.pack(">HBBI", 0, 8, 1, 2) + b"12", "in 1 dimensions"),
        (struct.pack(">HBB", 0, 8, 3), "within its head"),
        (struct.pack(">HBB3I", 0, 8, 3, 2, 2, 2) + b"\0" * 8, "at least 16"),
    ],
)
def test_a_file_that_is_no_idx_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InvalidSetting, match=said):
        find_pictures(tmp_path / "images-idx3-ubyte", 28)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = write_idx(tmp_path / "my-images-idx3-ubyte", torch.zeros(20, 4, 4, dtype=torch.uint8))
    write_idx(tmp_path / "my-labels-idx1-ubyte", torch.zeros(19, dtype=torch.uint8))
    with pytest.raises(InvalidSetting, match=r"20 pictures .* 19 labels"):
        find_pictures(file, 28)


def test_a_torn_gzip_and_a_broken_picture_are_named(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "a-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0" * 99)[:20])
    with pytest.raises(InvalidSetting, match="no whole gzip"):
        find_pictures(tmp_path / "a-idx3-ubyte.gz", 28)
    (pets / "cat" / "9.png").write_bytes(b"torn")
    with pytest.raises(InvalidSetting, match=r"9\.png"):
        find_pictures(pets, 28)


def test_folders_that_teach_nothing_are_refused(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    faults = {tmp_path / "empty": "holds no pictures", pets / "cat": "at least 16"}
    (pets / "bird").mkdir()
    faults |= {pets: "bird has no pictures", tmp_path / "nowhere": "does not exist"}
    for data, fault in faults.items():
        with pytest.raises(InvalidSetting, match=fault):
            find_pictures(data, 28)


def test_own_pictures_are_trained_to_a_model_with_a_card(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--data", str(pets), "--out", str(out), "--steps", "2"]
    assert main(["train", "dcgan", *options]) == 0
    design = load_generator(out).design
    assert (tuple(design.labels), design.channels) == (("cat", "dog"), 3)
    assert "20 pictures of the folder pets" in (out / "README.md").read_text()
    assert f'source = "{out}"' in capsys.readouterr().err
    assert {"samples.png", "losses.png"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_own_pictures_without_classes_train_every_type(
    name: str, pets: Path, tmp_path: Path
) -> None:
    zoo.room(name).train(Plan(tmp_path / "out", 0, 1, 1, data=_flat(pets)))
    assert load_generator(tmp_path / "out").design.labels == []
    assert (tmp_path / "out" / "latents.png").exists() == (name == "vae")


def test_a_map_of_points_shows_every_one_in_the_colour_of_its_class(tmp_path: Path) -> None:
    points = torch.eye(4).repeat(5, 4) * torch.tensor([9.0, 3.0, 1.0, 0.1]).repeat(4)
    share = draw_map(points, torch.arange(20) % 2, ["even", "odd"], tmp_path / "map.png")
    assert 0.9 < share < 1
    with Image.open(tmp_path / "map.png") as chart:
        colours = {colour for _, colour in chart.getcolors(10**6)}  # type: ignore[union-attr]
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_draws_every_digit_legibly(name: str) -> None:
    # Seeds are fixed; the card says the shares of 100 pictures each.
    metrics = measure_generator(zoo.path(name), per_digit=10)
    assert isinstance(metrics, GeneratorMetrics)
    assert metrics.recognised >= 0.85
    assert min(metrics.per_digit.values()) >= 0.5
    assert metrics.fid < metrics.fid_of_noise / 5


def test_a_shipped_design_names_its_digits() -> None:
    for name in NAMES:
        config = json.loads((zoo.path(name) / "config.json").read_text())
        assert config["labels"] == [str(digit) for digit in range(10)]


def test_real_digits_are_held_against_the_held_out_ones_in_their_mix() -> None:
    labels = real_digits(held_out=True).labels
    others = training_digits_like(labels, len(labels)).labels
    assert torch.equal(others.bincount(minlength=10), labels.bincount(minlength=10))
    some = training_digits_like(labels, 50).labels.bincount(minlength=10)
    assert int(some.sum()) == 50
    assert (some - labels.bincount(minlength=10) * 50 / len(labels)).abs().max() <= 1


def test_a_users_own_digits_are_not_measured_as_those_that_ship(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(zoo.path("gan"), folder)
    record = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps(record | {"data": "MNIST of my own"}))
    assert isinstance(measure_generator(folder), OwnMetrics)
