"""An exported model can carry code: only a file that is sealed and pinned is ever opened."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import manifest
from genfarm_workers.engines.exporting import export_model
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.weights import pin_model

ROOT = Path(__file__).parents[2]
FLOATS = ModelEntry(key="mine", kind="batch-floats", engine="floats")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    """A registry entry that serves a TorchScript file as it was exported."""
    out = tmp_path_factory.mktemp("exports") / "floats"
    _, sealed = export_model(FLOATS, "torchscript", out)
    return FLOATS.model_copy(update={"source": str(out), "sha256": sealed})


@pytest.fixture
def entry(exported: ModelEntry, tmp_path: Path) -> ModelEntry:
    """The same with a folder of its own."""
    folder = shutil.copytree(exported.source, tmp_path / "floats")
    return exported.model_copy(update={"source": str(folder)})


def refused(entry: ModelEntry) -> str:
    with pytest.raises(ModelUnavailable) as said:
        build(entry, "cpu").load()
    return str(said.value)


def flip(name: str) -> Callable[[Path], object]:
    def one_byte(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return one_byte


DAMAGE: dict[str, Callable[[Path], object]] = {
    "model.ts": flip("model.ts"),
    "export.json": flip("export.json"),
    "model.pt2": lambda folder: (folder / "model.pt2").write_bytes(b"more"),
    "model.onnx.data": lambda folder: (folder / "model.onnx.data").write_bytes(b"more"),
    manifest.NAME: flip(manifest.NAME),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_one_changed_byte_or_file_is_refused_by_its_name(entry: ModelEntry, name: str) -> None:
    build(entry, "cpu").load()
    DAMAGE[name](Path(entry.source))
    said = refused(entry)
    assert f"{name} is not the file that was pinned" in said
    assert "expected sha256" in said


def test_a_file_that_the_registry_does_not_pin_is_not_opened(entry: ModelEntry) -> None:
    assert "only when models.toml pins it" in refused(entry.model_copy(update={"sha256": ""}))


def test_a_new_seal_beside_a_changed_file_does_not_help(entry: ModelEntry) -> None:
    """Whoever writes the folder can seal it again; he cannot write the registry."""
    flip("model.ts")(Path(entry.source))
    pin_model(entry)
    assert f"{manifest.NAME} is not the file that was pinned" in refused(entry)


def test_a_torchscript_without_a_manifest_is_not_opened(entry: ModelEntry) -> None:
    (Path(entry.source) / manifest.NAME).unlink()
    assert "is missing" in refused(entry)


@pytest.mark.parametrize(
    "name", ["model.ts", "model.pt2", "model.onnx", "model.pt", "model.bin", "model.pb"]
)
def test_a_file_of_a_stranger_is_refused_with_the_reason(
    entry: ModelEntry, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    shutil.copyfile(Path(entry.source) / "model.ts", folder / name)
    said = refused(entry.model_copy(update={"source": str(folder), "sha256": ""}))
    assert "holds no *.safetensors weights" in said
    assert "can run code" in said
    assert name in said or name.endswith(".pb")


def test_a_record_that_names_no_format_of_ours_is_refused(entry: ModelEntry) -> None:
    record = Path(entry.source) / "export.json"
    record.write_text(record.read_text().replace('"torchscript"', '"pickle"'))
    lines = pin_model(entry)
    said = refused(entry.model_copy(update={"sha256": lines.split('"')[1]}))
    assert "is not a record that `genfarm models export` wrote" in said


DOORS = ("jit.load", "export.load(", "InferenceSession(", "from torch.jit", "from torch.export im")


def test_archives_that_can_carry_code_have_one_door() -> None:
    doors = set()
    for top in ("producer", "workers", "shared"):
        for path in (ROOT / top).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            doors |= {path.name for door in DOORS if door in source}
    assert doors == {"exported.py"}
