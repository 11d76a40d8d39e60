"""A model is what the registry names and what was pinned; a request chooses neither."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genfarm import Farm, InvalidTask
from genfarm.cli import main
from genfarm_shared.errors import InvalidSetting, ModelUnavailable
from genfarm_shared.queue import make_app
from genfarm_shared.settings import Settings
from genfarm_shared.tasks import Claim
from genfarm_workers import zoo
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.checking import checked
from genfarm_workers.engines import manifest
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.weights import find_weights, pin_model

ROOT = Path(__file__).parents[2]
#: Names that a request may try for code or files of its own choice.
CHOSEN = [
    "../../x",
    "/etc/passwd",
    "hub/repo",
    "hub/repo@main",
    "https://x.example/m",
    "zoo:digits",
]


@pytest.fixture
def stories(tmp_path: Path) -> ModelEntry:
    """The starter model in a folder of its own."""
    folder = shutil.copytree(zoo.path("stories"), tmp_path / "stories")
    return ModelEntry(key="mine", kind="text-generation", engine="text", source=str(folder))


def flip_a_byte(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(4_000_000)
        byte = file.read(1)
        file.seek(4_000_000)
        file.write(bytes([byte[0] ^ 1]))


def more_code(folder: Path) -> None:
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')


DAMAGE: dict[str, Callable[[Path], object]] = {
    "model.safetensors": flip_a_byte,
    "config.json": more_code,
    "tokenizer.json": lambda folder: (folder / "tokenizer.json").unlink(),
    "extra/config.json": lambda folder: shutil.copytree(folder, folder / "extra"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_pinned_model_with_another_file_is_refused_before_it_is_loaded(
    stories: ModelEntry, name: str, sealed: bool
) -> None:
    line = pin_model(stories)
    entry = stories.model_copy(update={"sha256": line.split('"')[1]} if sealed else {})
    assert find_weights(entry) == Path(stories.source)
    DAMAGE[name](Path(stories.source))
    with pytest.raises(ModelUnavailable) as refused:
        build(entry, "cpu").load()
    said = str(refused.value)
    assert f"{name} is not the file that was pinned" in said
    assert "expected sha256" in said
    assert "genfarm models pin mine" in said


def test_a_byte_that_changed_is_told_by_both_hashes(stories: ModelEntry) -> None:
    pin_model(stories)
    folder = Path(stories.source)
    before = manifest._hash(folder / "model.safetensors")
    flip_a_byte(folder)
    with pytest.raises(ModelUnavailable) as refused:
        find_weights(stories)
    assert before in str(refused.value)
    assert manifest._hash(folder / "model.safetensors") in str(refused.value)


def test_a_registry_pin_holds_against_whoever_writes_the_folder(stories: ModelEntry) -> None:
    """They can write a new manifest there, or take it away; not change the registry."""
    entry = stories.model_copy(update={"sha256": pin_model(stories).split('"')[1]})
    flip_a_byte(Path(stories.source))
    pin_model(stories)
    with pytest.raises(ModelUnavailable, match=r"genfarm\.sha256 is not the file that was pinned"):
        find_weights(entry)
    (Path(stories.source) / manifest.NAME).unlink()
    with pytest.raises(ModelUnavailable, match="is missing"):
        find_weights(entry)


def test_pinning_by_command_prints_what_to_paste(
    stories: ModelEntry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    registry = tmp_path / "home" / "models.toml"
    registry.parent.mkdir()
    lines = (
        f'[models.mine]\nkind = "text-generation"\nengine = "text"\nsource = "{stories.source}"\n'
    )
    registry.write_text(lines)
    assert main(["models", "pin", "mine"]) == 0
    head, line = capfd.readouterr().out.splitlines()
    assert head == "[models.mine]"
    registry.write_text(f"{lines}{line}\n")
    pinned = read_catalog(registry)["mine"]
    assert len(pinned.sha256) == 64
    find_weights(pinned)
    registry.write_text(f'{lines}sha256 = "abc"\n')
    with pytest.raises(InvalidSetting, match="sha256"):
        read_catalog(registry)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_named_and_never_loaded(stories: ModelEntry, name: str) -> None:
    folder = Path(stories.source)
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelUnavailable, match=rf"but {name}.*safe_serialization=True"):
        build(stories, "cpu").load()


@pytest.mark.parametrize("model", CHOSEN)
def test_a_request_names_a_key_and_never_a_place(model: str, broker_url: str) -> None:
    with (
        Farm(store=Settings.load().store_url, broker=broker_url) as farm,
        pytest.raises(InvalidTask, match="is not a registry key"),
    ):
        farm.submit_many("text-generation", ["x"], model=model)
    claim = Claim("t", "j", 1, "sleep", model, "sleep", 1, {"seconds": 0.0}, 0)
    with pytest.raises(ModelUnavailable, match="serves no model"):
        checked(claim, read_catalog())


def test_no_source_of_ours_reads_pickles_or_runs_a_models_code() -> None:
    found = []
    for top in ("producer", "workers", "shared"):
        for path in (ROOT / top).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                words = _words(node) & FORBIDDEN
                found += [
                    f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {w}" for w in words
                ]
    assert found == []


#: What can run code that came with data.
FORBIDDEN = {
    *("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"),
    *("torch.load", "trust_remote_code=True", "custom_pipeline", "yaml.load", "eval()", "exec()"),
}


def _words(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {f"{node.func.id}()"}
    if isinstance(node, ast.keyword):
        is_true = isinstance(node.value, ast.Constant) and node.value.value is True
        return {str(node.arg), f"{node.arg}={is_true}"}
    return {ast.unparse(node)} if isinstance(node, ast.Attribute) else set()


def test_celery_takes_and_writes_nothing_but_json(broker_url: str) -> None:
    conf = make_app(broker_url).conf
    assert list(conf.accept_content) == ["json"]
    assert conf.task_serializer == conf.event_serializer == "json"
    assert conf.result_backend is None
