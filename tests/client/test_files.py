"""Pictures as inputs: whatever people have becomes a file of the farm, named by its content."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genfarm.batchfile import open_source
from genfarm.files import keeper
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import find_kind
from genfarm_shared.kinds.params import MAX_FILE

Reader = Callable[..., list[Mapping[str, Any]]]


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def name_of(data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    return f"{sha256[:2]}/{sha256}.png"


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Reader]:
    """The parameters of inputs of a kind, pictures first."""
    store = ArtifactStore(str(tmp_path / "store"))

    def values(inputs: object, kind: str = "image-classification") -> list[Mapping[str, Any]]:
        source = open_source(find_kind(kind), inputs, None, keeper(lambda: store))
        return [given.values for given in source.read()]

    yield values
    for path in (tmp_path / "store").rglob("*.png"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_paths_bytes_and_images_become_files(read: Reader, tmp_path: Path) -> None:
    red, blue = png("red"), png("blue")
    (tmp_path / "red.png").write_bytes(red)
    inputs = [
        tmp_path / "red.png",
        str(tmp_path / "red.png"),
        blue,
        Image.new("RGB", (8, 8), "red"),
    ]
    names = [name_of(red), name_of(red), name_of(blue), name_of(red)]
    assert [values["image"] for values in read(inputs)] == names


def test_a_mapping_may_hold_a_picture_or_the_name_of_one(read: Reader) -> None:
    red = png("red")
    found = read([{"image": red, "top_k": 2}, {"image": name_of(red)}])
    assert found == [{"image": name_of(red), "top_k": 2}, {"image": name_of(red)}]


def test_a_folder_is_its_pictures(read: Reader, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        (tmp_path / "photos" / colour / "0.png").write_bytes(png(colour))
    found = read(tmp_path / "photos")
    assert [values["image"] for values in found] == [name_of(png("blue")), name_of(png("red"))]


def test_a_folder_may_be_named_by_a_number(
    read: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "00012.png").write_bytes(png("red"))
    (tmp_path / "inputs.jsonl").write_text('{"image": "3/00012.png"}')
    monkeypatch.chdir(tmp_path)
    for inputs in (tmp_path / "inputs.jsonl", ["3/00012.png"], Path("3")):
        assert [values["image"] for values in read(inputs)] == [name_of(png("red"))]


def test_a_file_of_inputs_names_pictures_beside_it(read: Reader, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png("red"))
    lines = [{"image": "red.png"}, {"image": str(tmp_path / "red.png")}]
    (tmp_path / "inputs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [values["image"] for values in read(tmp_path / "inputs.jsonl")] == 2 * [
        name_of(png("red"))
    ]


def test_a_bare_text_is_embedded_as_text_and_a_bare_picture_as_picture(read: Reader) -> None:
    found = read(["red.png", png("red")], kind="feature-extraction")
    assert found == [{"text": "red.png"}, {"image": name_of(png("red"))}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such.png", "input 1: image: cannot read no-such.png"),
        (b"%PDF-1.7", "input 1: image: the bytes is no picture"),
        (7, "input 1: image: a int is no picture"),
        (b"\x89PNG" + bytes(MAX_FILE), "Make the picture smaller"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_place(
    read: Reader, given: object, said: str
) -> None:
    with pytest.raises(InvalidTask, match=said):
        read([png("red"), given])


def test_an_empty_folder_is_refused(read: Reader, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidTask, match="holds no pictures"):
        read(tmp_path / "none")
