"""The video engine on the starter model with few steps; the oracle is a task drawn alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Clip, Output
from genfarm_workers.engines.diffusion import Row
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.video import VideoEngine
from genfarm_workers.engines.whole import _size

from .fakes import Claimer, Runner

Making = Callable[..., VideoEngine]
KIND = "text-to-video"
LIMITS = {
    "steps": 2,
    "guidance_scale": 3.0,
    "size": [32, 32],
    "frames": 2,
    "most_frames": 4,
    "most_pixels": 4 * 32 * 32,
}


@pytest.fixture
def make(entry: Callable[..., ModelEntry]) -> Making:
    def engine_of(tick: Tick = no_tick, **values: Any) -> VideoEngine:
        options = {"source": "zoo:video", "dtype": "float32", "slots": 3, "limits": LIMITS}
        engine = VideoEngine(entry("tiny", KIND, "video", **{**options, **values}), "cpu", tick)
        engine.load()
        return engine

    return engine_of


def clips_of(output: Output) -> list[Clip]:
    assert output.failure is None, output.failure
    return [media for media in output.files if isinstance(media, Clip)]


def test_a_clip_has_the_same_bytes_alone_and_in_company(
    make: Making, claim: Claimer, run: Runner
) -> None:
    engine = make()
    claims = [
        claim("one", KIND, "tiny", prompt="a three growing", seed=1, n=2),
        claim("two", KIND, "tiny", prompt="a three growing", seed=2),
        claim("not", KIND, "tiny", prompt="a three growing", seed=2, negative_prompt="red"),
    ]
    together = run(engine, claims)
    assert len({clip for one in together.values() for clip in clips_of(one)}) == 4
    for one in claims:
        assert clips_of(run(engine, [one])[one.task_id]) == clips_of(together[one.task_id])


def test_a_clip_has_the_frames_the_size_and_the_pace_asked_for(
    make: Making, claim: Claimer, run: Runner
) -> None:
    own = {"frames": 3, "size": "32x24", "fps": 12, "steps": 1, "format": "mp4"}
    output = run(make(), [claim("a", KIND, "tiny", prompt="a one", seed=4, **own)])["a"]
    (clip,) = clips_of(output)
    assert (clip.width, clip.height, clip.fps, clip.format) == (32, 24, 12, "mp4")
    assert len(clip.rgb) == 3 * 32 * 24 * 3
    assert output.output == {
        "clips": 1,
        "frames": 3,
        "fps": 12,
        "size": [32, 24],
        "steps": 1,
        "guidance_scale": 3.0,
        "seeds": [4],
    }


def test_clips_beyond_the_registrys_bounds_are_refused_beside_others(
    make: Making, claim: Claimer, run: Runner
) -> None:
    tasks = [
        claim("long", KIND, "tiny", prompt="x", frames=5),
        claim("large", KIND, "tiny", prompt="x", size="64x64"),
        claim("good", KIND, "tiny", prompt="x"),
    ]
    outputs = run(make(), tasks)
    reasons = [outputs[key].failure for key in ("long", "large")]
    assert [reason.code for reason in reasons if reason] == ["invalid_params"] * 2
    assert "frames=5: model 'tiny' draws at most 4" in str(reasons[0])
    assert "frames=2 of 64x64 are 8,192 pixels; model 'tiny' draws at most 4,096" in str(reasons[1])
    assert clips_of(outputs["good"])


def test_a_clip_dropped_while_it_is_drawn_ends_at_the_next_step(
    make: Making, claim: Claimer
) -> None:
    told: list[tuple[int, int]] = []

    def tick() -> None:
        told.extend((g.done, g.total) for g in engine.glimpses(["a"]))
        engine.drop(["a"])

    engine = make(tick)
    engine.admit([claim("a", KIND, "tiny", prompt="a two", steps=8)])
    assert engine.step(0.0) == []
    assert told == [(1, 8)]
    assert engine.wakes_at(0.0) is None


def test_a_pipeline_without_frames_is_refused_at_load(make: Making, image_folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="draws no frames"):
        make(source=str(image_folder))


def test_a_clip_of_no_named_size_is_bound_by_the_one_that_its_model_draws(
    make: Making, claim: Claimer, run: Runner
) -> None:
    engine = make(limits={"most_pixels": 100, "frames": 2})
    engine.admit([claim("a", KIND, "tiny", prompt="x")])
    (output,) = engine.step(0.0)
    assert "frames=2 of 32x32 are 2,048 pixels" in str(output.failure)


def test_clips_of_other_lengths_are_lowered_apart_when_memory_is_short() -> None:
    sizes = {"width": 32, "height": 32}
    short, long = (
        Row("a", 0, "x", "", 0, arguments={**sizes, "num_frames": frames}) for frames in (2, 200)
    )
    assert _size(short) != _size(long)
