"""The image engine on a tiny random Stable Diffusion; the oracle is a task drawn alone.

What holds for either way of drawing is tested on steps, which is what this
pipeline is drawn on, and the whole batches by themselves at the end.
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.image import ImageEngine
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.whole import WholeEasel

from .fakes import Claimer, Runner, pictures_of

Making = Callable[..., ImageEngine]
LIMITS = {"steps": 2, "guidance_scale": 4.0, "size": [32, 32]}


@pytest.fixture
def make(image_folder: Path, entry: Callable[..., ModelEntry]) -> Making:
    def engine_of(tick: Tick = no_tick, **values: Any) -> ImageEngine:
        options = {"source": str(image_folder), "dtype": "float32", "limits": LIMITS, **values}
        engine = ImageEngine(entry("tiny", "text-to-image", "image", **options), "cpu", tick)
        engine.load()
        return engine

    return engine_of


def bytes_of(output: Output) -> list[bytes]:
    assert output.failure is None
    return [picture.rgb for picture in pictures_of(output)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_picture_has_the_same_bytes_alone_and_in_company(
    make: Making, claim: Claimer, run: Runner, dtype: str
) -> None:
    engine = make(dtype=dtype)
    prompts = ["three", "seven", "a nine of ink", "three", "zero"]
    claims = [
        claim(f"t{i}", "text-to-image", "tiny", prompt=prompt, seed=i, n=1 + i % 2)
        for i, prompt in enumerate(prompts)
    ]
    claims.append(
        claim("no", "text-to-image", "tiny", prompt="three", negative_prompt="ink", seed=0)
    )
    together = run(engine, claims)
    assert len({picture for one in together.values() for picture in bytes_of(one)}) == 8
    for one in claims:
        alone = run(engine, [one])[one.task_id]
        assert bytes_of(alone) == bytes_of(together[one.task_id])


def test_an_output_names_what_it_was_drawn_with(make: Making, claim: Claimer, run: Runner) -> None:
    engine = make()
    own = {"steps": 3, "guidance_scale": 1.0, "size": "48x32"}
    outputs = run(
        engine,
        [
            claim("default", "text-to-image", "tiny", prompt="one", seed=5, n=2),
            claim("own", "text-to-image", "tiny", prompt="one", seed=5, **own),
        ],
    )
    default, other = outputs["default"].output, outputs["own"].output
    assert default is not None
    assert default["steps"] == 2
    assert default["seeds"][0] == 5 != default["seeds"][1]
    assert other == {
        "pictures": 1,
        "size": [48, 32],
        "steps": 3,
        "guidance_scale": 1.0,
        "scheduler": "ddim",
        "seeds": [5],
    }
    picture = pictures_of(outputs["own"])[0]
    assert (picture.width, picture.height, len(picture.rgb)) == (48, 32, 48 * 32 * 3)


def test_two_sizes_are_never_held_together(make: Making, claim: Claimer, run: Runner) -> None:
    engine = make()
    engine.admit([claim("a", "text-to-image", "tiny", prompt="one")])
    mate = claim("m", "text-to-image", "tiny", prompt="one", steps=3, guidance_scale=1.0)
    other = claim("b", "text-to-image", "tiny", prompt="one", size=48)
    assert engine.free_rows(mate.batch_key) == 3
    assert engine.free_rows(other.batch_key) == 0
    run(engine, [])
    assert engine.free_rows(other.batch_key) == 4


def test_more_pictures_than_slots_still_finish(make: Making, claim: Claimer) -> None:
    engine = make(slots=2)
    engine.admit([claim("w", "text-to-image", "tiny", prompt="one", n=5)])
    outputs = []
    while engine.wakes_at(0.0) is not None:
        outputs += engine.step(0.0)
    assert [len(output.files) for output in outputs] == [5]


@pytest.fixture
def make_whole(make: Making) -> Making:
    """An engine whose pipeline counts as one that cannot be drawn on steps."""

    def engine_of(tick: Tick = no_tick, **values: Any) -> ImageEngine:
        engine = make(tick, **values)
        engine._easel = WholeEasel(engine._painter, engine.slots, engine.work, tick)
        return engine

    return engine_of


def test_whole_batches_hold_rows_of_equal_arguments(
    make_whole: Making, claim: Claimer, run: Runner
) -> None:
    engine = make_whole(slots=8)
    kinds: list[dict[str, Any]] = [
        {},
        {"steps": 3},
        {"guidance_scale": 1.0},
        {"scheduler": "ddim"},
    ]
    claims = [
        claim(f"t{i}", "text-to-image", "tiny", prompt="one", seed=i, **values)
        for i, values in enumerate(kinds * 2)
    ]
    together = run(engine, claims)
    assert engine.work.calls == 2 + 3 + 2 + 2
    assert engine.work.useful == 2 * engine.work.calls
    for one in (claims[0], claims[5], claims[7]):
        alone = run(engine, [one])[one.task_id]
        assert bytes_of(alone) == bytes_of(together[one.task_id])


def test_dropping_every_task_of_a_batch_ends_it_between_steps(
    make_whole: Making, claim: Claimer
) -> None:
    ticks: list[int] = []
    engine: ImageEngine

    def tick() -> None:
        ticks.append(len(ticks))
        if len(ticks) == 2:
            engine.drop(["a", "b"])

    engine = make_whole(tick=tick)
    one, two = (claim(name, "text-to-image", "tiny", prompt="one", steps=50) for name in "ab")
    engine.admit([one, two])
    assert engine.step(0.0) == []
    assert len(ticks) == 2
    assert engine.wakes_at(0.0) is None


def test_a_dropped_task_does_not_end_its_mates(make_whole: Making, claim: Claimer) -> None:
    dropping: list[ImageEngine] = []
    engine = make_whole(tick=lambda: dropping[0].drop(["a"]))
    dropping.append(engine)
    engine.admit([claim(name, "text-to-image", "tiny", prompt="one") for name in "ab"])
    assert [output.task_id for output in engine.step(0.0)] == ["b"]


def test_a_pipeline_without_an_option_runs_and_refuses_tasks_that_need_it(
    make_whole: Making, claim: Claimer, run: Runner
) -> None:
    engine = make_whole()
    painter = engine._painter
    missing = ("negative_prompt", "guidance_scale", "callback_on_step_end")
    kept = {name: option for name, option in painter.options.items() if name not in missing}
    painter.options = MappingProxyType(kept)
    outputs = run(
        engine,
        [
            claim("plain", "text-to-image", "tiny", prompt="one"),
            claim("no", "text-to-image", "tiny", prompt="one", negative_prompt="ink"),
            claim("scale", "text-to-image", "tiny", prompt="one", guidance_scale=2.0),
        ],
    )
    assert outputs["plain"].output is not None
    assert outputs["plain"].output["guidance_scale"] is None
    assert outputs["no"].failure is not None
    assert outputs["no"].failure.code == "invalid_params"
    assert "negative_prompt" in outputs["no"].failure.message
    assert outputs["scale"].failure is not None


def test_a_picture_that_the_safety_checker_holds_back_fails_its_task(
    make_whole: Making, claim: Claimer, run: Runner
) -> None:
    engine = make_whole()
    pipeline = engine._painter.pipeline

    def check(images: Any, device: Any, dtype: Any) -> tuple[Any, list[bool]]:
        return images, [index == 1 for index in range(len(images))]

    pipeline.run_safety_checker = check
    claims = [claim(name, "text-to-image", "tiny", prompt="one") for name in "abc"]
    outputs = run(engine, claims)
    failure = outputs["b"].failure
    assert failure is not None
    assert failure.code == "content_filtered"
    assert outputs["a"].failure is outputs["c"].failure is None


def test_out_of_memory_makes_whole_batches_of_that_size_smaller(
    make_whole: Making, claim: Claimer, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_whole()
    easel = engine._easel
    assert isinstance(easel, WholeEasel)
    draw, sizes = easel._draw, []

    def narrow(rows: Any, size: int) -> Any:
        sizes.append(size)
        if size > 1:
            raise torch.OutOfMemoryError("out of memory")
        return draw(rows, size)

    monkeypatch.setattr(easel, "_draw", narrow)
    claims = [claim(name, "text-to-image", "tiny", prompt="one") for name in "ab"]
    outputs = run(engine, claims)
    assert all(output.failure is None for output in outputs.values())
    assert sizes == [4, 2, 1, 1]
