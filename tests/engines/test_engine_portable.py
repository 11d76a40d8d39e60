"""Classifiers, embeddings and generators served from files, and compared in other precisions."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines import Output
from genfarm_workers.engines.comparing import compare_precisions
from genfarm_workers.engines.exporting import export_model
from genfarm_workers.engines.generators import Design, build_generator, keep_generator
from genfarm_workers.engines.registry import build

from .encoders import save_encoder, save_picture_model, save_text_model
from .fakes import Claimer, Runner, pictures_of

Entry = Callable[..., ModelEntry]


def save_generator(folder: Path) -> Path:
    torch.manual_seed(1)
    keep_generator(build_generator(Design("vae", 28, 1, 16, ("cat", "dog"))).eval(), folder)
    return folder


SAVED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "classify-text": ("text-classification", save_text_model),
    "classify-image": ("image-classification", lambda folder: save_picture_model(folder, "vit")),
    "embed": ("feature-extraction", save_encoder),
    "samples": ("unconditional-image-generation", save_generator),
}
ASKED: dict[str, dict[str, Any]] = {
    "classify-text": {"text": "I love this very good film"},
    "classify-image": {"image": f"ab/{'0' * 64}.png"},
    "embed": {"text": "I love this very good film"},
    "samples": {"label": "dog", "n": 3},
}


def answer(entry: ModelEntry, task: Claim, run: Runner) -> Output:
    engine = build(entry, "cpu")
    engine.load()
    return run(engine, [task])[task.task_id]


@pytest.mark.parametrize("engine", SAVED)
def test_classifiers_embeddings_and_generators_are_served_from_a_file(
    engine: str, tmp_path: Path, claim: Claimer, run: Runner, entry: Entry
) -> None:
    kind, save = SAVED[engine]
    (tmp_path / "own").mkdir()
    model = entry("m", kind, engine, slots=4, source=str(save(tmp_path / "own")))
    _, sealed = export_model(model, "torchscript", tmp_path / "x")
    where = {"source": str(tmp_path / "x"), "sha256": sealed}
    task = claim("t", kind, "m", **ASKED[engine])
    task = replace(task, files={"image": a_picture()})
    plain, found = (answer(m, task, run) for m in (model, model.model_copy(update=where)))
    assert plain.failure is None
    assert numbers_of(found) == pytest.approx(numbers_of(plain), abs=0.005)


def a_picture() -> bytes:
    file = BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    return file.getvalue()


def numbers_of(output: Output) -> list[float]:
    """Those of its answer; pixels as shares of full light."""
    said = dict(output.output or {})
    scores = sorted(one["score"] for one in said.get("labels", []) if "score" in one)
    pixels = [n / 255 for picture in pictures_of(output) for n in picture.rgb]
    return [*said.get("embedding", []), *scores, *pixels]


def test_a_classifier_of_texts_runs_in_int8(
    tmp_path: Path, claim: Claimer, run: Runner, entry: Entry
) -> None:
    kind, save = SAVED["classify-text"]
    model = entry("m", kind, "classify-text", slots=4, source=str(save(tmp_path)), dtype="int8")
    task = claim("t", kind, "m", text="I love this very good film", top_k=3)
    output = answer(model, task, run).output
    assert output is not None
    assert sum(one["score"] for one in output["labels"]) == pytest.approx(1.0)
    exact = compare_precisions(model, ["int8"])
    assert 0 < exact[1].difference < 1


@pytest.mark.parametrize("name", ["sentiment", "digit-resnet"])
def test_a_starter_classifier_is_compared_by_its_held_out_accuracy(name: str) -> None:
    costs = compare_precisions(read_catalog()[name], ["bfloat16"])
    accuracies = [cost.figures["accuracy"] for cost in costs]
    assert accuracies[0] > 0.85
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.02)
