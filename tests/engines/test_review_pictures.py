"""The safety checker of a diffusion pipeline, as the registry's review wants it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.image import ImageEngine

from .fakes import Claimer, Runner

#: Of each half of the tiny CLIP model.
SMALL = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "projection_dim": 8,
}


@pytest.fixture(scope="module")
def checked_folder(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline with a safety checker to whom nothing is a concern."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    config = CLIPConfig(
        text_config=SMALL,
        vision_config={**SMALL, "image_size": 8, "patch_size": 4},
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.fill_(9.0)
    checker.special_care_embeds_weights.fill_(9.0)
    processor = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8)
    pipeline = StableDiffusionPipeline.from_pretrained(
        image_folder, safety_checker=checker, feature_extractor=processor
    )
    folder = tmp_path_factory.mktemp("checked")
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("wanted", "there"), [(None, True), (True, True), (False, False)])
def test_the_checker_of_a_pipeline_stays_unless_the_registry_leaves_it_out(
    checked_folder: Path,
    entry: Callable[..., ModelEntry],
    claim: Claimer,
    run: Runner,
    *,
    wanted: bool | None,
    there: bool,
) -> None:
    engine = ImageEngine(made(entry, checked_folder, wanted), "cpu")
    engine.load()
    assert (engine._painter.pipeline.safety_checker is not None) is there
    drawn = run(engine, [claim("t", "text-to-image", "tiny", prompt="three", seed=1)])
    assert drawn["t"].failure is None


def test_a_model_that_lacks_the_checker_it_must_have_is_not_served(
    image_folder: Path, entry: Callable[..., ModelEntry]
) -> None:
    with pytest.raises(ModelUnavailable, match="wants the pipeline's safety checker"):
        ImageEngine(made(entry, image_folder, wanted=True), "cpu").load()


def made(entry: Callable[..., ModelEntry], folder: Path, wanted: bool | None) -> ModelEntry:
    options: dict[str, Any] = {"source": str(folder), "dtype": "float32", "slots": 2}
    options["limits"] = {"steps": 1, "guidance_scale": 4.0, "size": [32, 32]}
    return entry("tiny", "text-to-image", "image", **options, review={"safety_checker": wanted})
