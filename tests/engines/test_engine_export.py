"""Models as files: written, held against the eager model, sealed, and served in its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_shared.errors import InvalidSetting, ModelUnavailable
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines.exported import open_exported, stand_in
from genfarm_workers.engines.exporting import export_model, main, registry_lines, write_export
from genfarm_workers.engines.floats import FloatsEngine
from genfarm_workers.engines.portable import FORMATS, ExportParts, OneOutput, read_record
from genfarm_workers.engines.precision import Int8Linear
from genfarm_workers.engines.registry import build
from genfarm_workers.engines.weights import pin_model
from genfarm_workers.review.rules import ClassifierRules, ReviewRules
from genfarm_workers.sizes import weigh

from .fakes import Claimer, Runner

Entry = Callable[..., ModelEntry]


def served(entry: ModelEntry, out: Path, sealed: str) -> ModelEntry:
    return entry.model_copy(update={"source": str(out), "sha256": sealed})


@pytest.fixture
def floats(entry: Entry) -> ModelEntry:
    return entry("floats", "batch-floats", "floats")


@pytest.mark.parametrize("form", FORMATS)
def test_floats_are_served_from_a_file_of_each_format(
    floats: ModelEntry, tmp_path: Path, claim: Claimer, run: Runner, form: str
) -> None:
    out = tmp_path / "export"
    record, sealed = export_model(floats, form, out)
    assert record.difference <= 1e-5
    assert {1, 2} < set(record.batches)
    assert (record.rows, record.bytes) == (None, (out / FORMATS[form]).stat().st_size)
    assert read_record("floats", out) == record
    engines = [FloatsEngine(floats), FloatsEngine(served(floats, out, sealed))]
    one = claim("t", "batch-floats", "floats", values=[i / 7 for i in range(1500)])
    answers = []
    for engine in engines:
        engine.load()
        output = run(engine, [one])["t"].output
        assert output is not None
        answers.append(output["values"])
    assert answers[1] == pytest.approx(answers[0], abs=1e-5)
    assert weigh(served(floats, out, sealed), out, "cpu") == record.bytes


def bert() -> ExportParts:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    config.intermediate_size = config.max_position_embeddings = 32
    ids = torch.arange(24).view(3, 8)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    module = OneOutput(
        BertForSequenceClassification(config).eval(), ["input_ids", "attention_mask"]
    )
    inputs = {"input_ids": ids, "attention_mask": mask}
    return ExportParts(module, inputs, {name: {1: "tokens"} for name in inputs}, "logits")


def resnet() -> ExportParts:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    module = OneOutput(ResNetForImageClassification(config).eval(), ["pixel_values"])
    return ExportParts(module, {"pixel_values": torch.randn(3, 1, 16, 16)}, output="logits")


@pytest.mark.parametrize("parts", [bert, resnet])
def test_stock_classifiers_run_at_any_batch_size(
    floats: ModelEntry, tmp_path: Path, parts: Callable[[], ExportParts]
) -> None:
    torch.manual_seed(1)
    made = parts()
    record, sealed = write_export(floats, made, "torchscript", tmp_path / "x")
    assert record.rows is None
    assert record.batches == [1, 2, 3, 7]
    forward = open_exported(served(floats, tmp_path / "x", sealed), tmp_path / "x", "cpu")
    with torch.inference_mode():
        found, eager = (call(*made.inputs.values()) for call in (forward, made.module))
    assert (found - eager).abs().max() <= record.tolerance


def test_a_file_stands_in_for_the_model_it_was_made_from(
    floats: ModelEntry, tmp_path: Path
) -> None:
    made = bert()
    write_export(floats, made, "torchscript", tmp_path / "x")
    stock: Any = made.module
    stock.model.config.save_pretrained(tmp_path / "x")
    line = pin_model(served(floats, tmp_path / "x", ""))
    entry = served(floats, tmp_path / "x", line.split('"')[1])
    model = stand_in(entry, tmp_path / "x", "cpu")
    with torch.inference_mode():
        assert torch.equal(model(**made.inputs).logits, made.module(*made.inputs.values()))
    assert model.config.num_labels == 2


class Sized(torch.nn.Module):
    """Writes the size of its batch into a traced program."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + torch.arange(int(values.shape[0]))[:, None] * 0


def test_a_program_of_one_batch_size_serves_every_other(floats: ModelEntry, tmp_path: Path) -> None:
    parts = ExportParts(Sized(), {"values": torch.randn(4, 2)})
    record, sealed = write_export(floats, parts, "torchscript", tmp_path / "x")
    assert record.rows == 4
    forward = open_exported(served(floats, tmp_path / "x", sealed), tmp_path / "x", "cpu")
    for rows in (1, 4, 9):
        values = torch.randn(rows, 2)
        assert torch.equal(forward(values), values)


class Fickle(torch.nn.Module):
    """Gives another answer at every call."""

    calls = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return values * self.calls


def test_a_file_that_differs_from_eager_is_not_kept(floats: ModelEntry, tmp_path: Path) -> None:
    parts = ExportParts(Fickle(), {"values": torch.randn(4, 2)})
    with pytest.raises(ModelUnavailable, match=r"largest difference .* more than the tolerance"):
        write_export(floats, parts, "torchscript", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelUnavailable, match="Nothing was kept"):
        write_export(floats, resnet(), "torchscript", tmp_path / "x", tolerance=-1.0)


def test_texts_from_a_file_are_those_of_the_slots(
    text_engine: Any, text_folder: Path, tmp_path: Path, claim: Claimer, run: Runner, entry: Entry
) -> None:
    tiny = entry("tiny", "text-generation", "text", source=str(text_folder), dtype="float32")
    _, sealed = export_model(tiny, "torchscript", tmp_path / "x")
    engine = text_engine(source=str(tmp_path / "x"), sha256=sealed)
    prompts = ["Once upon a time", "Every", "Grüße aus München: ein Bär, zwei Äpfel, drei Öfen"]
    claims = [
        claim(f"t{i}", "text-generation", "tiny", prompt=p, max_new_tokens=8, seed=i, **more)
        for i, p in enumerate(prompts)
        for more in [{"repetition_penalty": 1.0 + i / 10, "temperature": float(i)}]
    ]
    together = run(engine, claims)
    plain = run(text_engine(), claims)
    for one in claims:
        assert together[one.task_id].output == plain[one.task_id].output
        assert run(engine, [one])[one.task_id].output == together[one.task_id].output


def test_a_program_with_the_cpu_written_into_it_is_refused_elsewhere(
    text_folder: Path, tmp_path: Path, entry: Entry
) -> None:
    tiny = entry("tiny", "text-generation", "text", source=str(text_folder), dtype="float32")
    _, sealed = export_model(tiny, "torchscript", tmp_path / "x")
    with pytest.raises(ModelUnavailable, match="makes tensors on the CPU wherever it runs"):
        open_exported(served(tiny, tmp_path / "x", sealed), tmp_path / "x", "cuda")


def test_an_engine_without_one_call_offers_no_export(entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="the sleep engine offers no device call"):
        export_model(entry("sleep", "sleep", "sleep"), "onnx", tmp_path / "x")
    (tmp_path / "export.json").touch()
    file = entry("floats", "batch-floats", "floats", source=str(tmp_path))
    with pytest.raises(ModelUnavailable, match="is an exported file itself"):
        export_model(file, "onnx", tmp_path / "x")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (torch.nn.Linear(2, 2).to(torch.bfloat16), "in bfloat16 are not written"),
        (torch.nn.Sequential(Int8Linear(torch.ones(2, 2), None)), "in int8 are not written"),
    ],
)
def test_what_onnx_cannot_hold_is_refused_with_another_way(
    floats: ModelEntry, tmp_path: Path, module: torch.nn.Module, said: str
) -> None:
    dtype = next(iter(module.parameters()), torch.ones(1)).dtype
    parts = ExportParts(module, {"values": torch.ones(4, 2, dtype=dtype)})
    with pytest.raises(ModelUnavailable, match=said):
        write_export(floats, parts, "onnx", tmp_path / "x")


def test_a_folder_of_something_else_is_never_replaced(floats: ModelEntry, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").touch()
    with pytest.raises(InvalidSetting, match="holds no export; nothing was written"):
        export_model(floats, "torchscript", tmp_path)
    for _ in range(2):  # an earlier export is
        export_model(floats, "torchscript", tmp_path / "x")


def test_the_command_prints_the_block_that_the_registry_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["floats", "--format", "torchscript", "--out", str(tmp_path / "x"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert 0 <= told["difference"] <= told["tolerance"]
    registry = tmp_path / "models.toml"
    registry.write_text(told["registry"])
    found = read_catalog(registry)["floats-torchscript"]
    assert (found.sha256, found.slots) == (told["sha256"], read_catalog()["floats"].slots)
    build(found, "cpu").load()


@pytest.mark.parametrize("key", ["floats", "floats-2.5", "a" * 60])
def test_the_block_keeps_a_models_limits_and_review_whatever_its_key(
    key: str, floats: ModelEntry, tmp_path: Path
) -> None:
    classifier = ClassifierRules(source="/models/moods", labels=["grün", "\U0001f600"])
    review = ReviewRules(block_list=["bad word"], classifier=classifier, outputs=False)
    limits = {"steps": 3, "size": [32, 32]}
    changes = {"key": key, "limits": limits, "review": review, "dtype": "float16"}
    entry = floats.model_copy(update=changes)
    record, sealed = export_model(entry, "torchscript", tmp_path / "x")
    registry = tmp_path / "models.toml"
    registry.write_text(registry_lines(entry, record, tmp_path / "x", sealed))
    found = read_catalog(registry)[f"{key[:44]}-torchscript-float16"]
    assert (found.limits, found.review) == (limits, review)


def test_a_file_serves_only_the_engine_and_precision_it_was_made_for(
    floats: ModelEntry, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    _, sealed = export_model(floats, "torchscript", out)
    for change, said in (
        ({"engine": "text"}, "exported from the floats engine"),
        ({"dtype": "bfloat16"}, "the file holds float32"),
    ):
        entry = served(floats, out, sealed).model_copy(update=change)
        with pytest.raises(ModelUnavailable, match=said):
            open_exported(entry, out, "cpu")
