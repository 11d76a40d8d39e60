"""Pictures on steps; the oracle is the stock pipeline, called for one picture alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.diffusion import Painter, ask
from genfarm_workers.engines.image import ImageEngine
from genfarm_workers.engines.pictures import to_pictures
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.stepwise import StepEasel, _decoders
from genfarm_workers.engines.whole import WholeEasel

from .fakes import Claimer, Runner, pictures_of

Making = Callable[..., ImageEngine]
LIMITS = {"steps": 3, "guidance_scale": 4.0, "size": [32, 32]}
MIXED: list[dict[str, Any]] = [
    {"prompt": "three", "steps": 2},
    {"prompt": "seven", "steps": 6, "guidance_scale": 1.0, "scheduler": "euler"},
    {"prompt": "three", "steps": 4, "guidance_scale": 9.0, "scheduler": "euler-a"},
    {"prompt": "nine", "steps": 5, "negative_prompt": "ink", "scheduler": "dpm++2m"},
    {"prompt": "one", "steps": 3, "scheduler": "unipc"},
    {"prompt": "two", "steps": 3, "guidance_scale": 1.0, "scheduler": "pndm"},
]


@pytest.fixture
def make(image_folder: Path, entry: Callable[..., ModelEntry]) -> Making:
    def engine_of(tick: Tick = no_tick, **values: Any) -> ImageEngine:
        options = {"source": str(image_folder), "dtype": "float32", "limits": LIMITS, **values}
        engine = ImageEngine(entry("tiny", "text-to-image", "image", **options), "cpu", tick)
        engine.load()
        return engine

    return engine_of


@pytest.fixture
def draw(claim: Claimer) -> Callable[..., Claim]:
    def make_claim(task_id: str, **values: Any) -> Claim:
        return claim(task_id, "text-to-image", "tiny", **{"prompt": "one", **values})

    return make_claim


def easel_of(engine: ImageEngine) -> StepEasel:
    assert isinstance(engine._easel, StepEasel)
    return engine._easel


def rgb_of(output: Output) -> bytes:
    assert output.failure is None
    return pictures_of(output)[0].rgb


Stock = Callable[[ImageEngine, Claim], bytes]


@pytest.fixture(scope="module")
def stock() -> Stock:
    """The pipeline's own call for one task, on modules that no engine has touched."""
    painters: dict[str, Painter] = {}

    def draw_alone(engine: ImageEngine, claim: Claim) -> bytes:
        dtype, row = engine._entry.dtype, engine._rows_of(claim)[0]
        if dtype not in painters:
            painters[dtype] = Painter(engine._entry, "cpu")
        pipeline = painters[dtype].with_scheduler(row.scheduler)
        return to_pictures(pipeline(**ask([row])).images)[0].rgb

    return draw_alone


# diffusers' schedulers hand tensors to numpy in a way that a new numpy deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mixed_requests_share_calls_and_have_the_stock_pipelines_bytes(
    make: Making, draw: Callable[..., Claim], run: Runner, stock: Stock, dtype: str
) -> None:
    engine = make(dtype=dtype)
    claims = [draw(f"t{i}", seed=i, **values) for i, values in enumerate(MIXED)]
    together = run(engine, claims)
    # One after the other, they would take 24.
    assert engine.work.calls == 8
    assert engine.work.useful == 2 * (2 + 4 + 5 + 3) + 6 + 4 <= engine.work.computed
    for one in claims:
        assert rgb_of(together[one.task_id]) == stock(engine, one), one.params["scheduler"]


def test_a_task_joins_and_leaves_at_any_step(
    make: Making, draw: Callable[..., Claim], run: Runner, stock: Stock
) -> None:
    engine = make()
    long, short, gone = (draw(n, seed=i, steps=i) for n, i in (("l", 6), ("s", 2), ("g", 5)))
    engine.admit([long, gone])
    assert [engine.step(0.0), engine.step(0.0)] == [[], []]
    engine.admit([short])
    engine.drop(["g"])
    assert engine.free_rows(long.batch_key) == 2
    assert [output.task_id for _ in range(2) for output in engine.step(0.0)] == ["s"]
    rest = run(engine, [])
    assert engine.work.calls == 6
    assert rgb_of(rest["l"]) == stock(engine, long)


def test_dropping_from_the_tick_ends_the_tasks_and_their_threads(
    make: Making, draw: Callable[..., Claim]
) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(len(ticks))
        if len(ticks) > 6:
            engine.drop(["a", "b"])

    engine = make(tick)
    engine.admit([draw(name, steps=50) for name in "ab"])
    solos = []
    while engine.wakes_at(0.0) is not None:
        assert engine.step(0.0) == []
        solos += [seat.solo for seat in easel_of(engine)._seats]
    assert solos
    assert not any(solo._thread.is_alive() for solo in solos)
    assert engine.work.calls < 10


def test_a_picture_without_guidance_takes_half_the_room(
    make: Making, draw: Callable[..., Claim]
) -> None:
    engine = make()
    plain = [draw(str(i), guidance_scale=1.0) for i in range(4)]
    engine.admit(plain)
    engine.step(0.0)
    assert engine.free_rows(plain[0].batch_key) == 2


def test_a_batch_that_memory_is_not_enough_for_goes_on_in_halves(
    make: Making,
    draw: Callable[..., Claim],
    run: Runner,
    stock: Stock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make()
    denoisers = easel_of(engine)._ensembles["unet"]
    launch, rows = denoisers._launch, []

    def narrow(call: Any, args: Any, kwargs: Any, units: Any) -> Any:
        rows.append(sum(units.rows))
        if sum(units.rows) > 4 and len(rows) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return launch(call, args, kwargs, units)

    monkeypatch.setattr(denoisers, "_launch", narrow)
    claims = [draw(name, seed=i) for i, name in enumerate("abcd")]
    outputs = run(engine, claims)
    # Two steps of all, and the third in halves: no step is done twice.
    assert rows == [8, 8, 8, 4, 4]
    assert [rgb_of(outputs[one.task_id]) for one in claims] == [stock(engine, c) for c in claims]


def test_a_watched_picture_is_seen_step_by_step(make: Making, draw: Callable[..., Claim]) -> None:
    engine = make()
    engine.admit([draw("a", steps=4, n=2), draw("other", steps=4)])
    engine.step(0.0)
    engine.step(0.0)
    seen = engine.glimpses(["a", "unknown"])
    assert [(one.task_id, one.done, one.total) for one in seen] == [("a", 4, 8)]
    picture = seen[0].picture
    assert picture is not None
    assert len(picture.rgb) == picture.width * picture.height * 3
    engine.step(0.0)
    # Within the same second: no second decode.
    assert engine.glimpses(["a"])[0].picture == picture


def test_prompts_are_encoded_once_and_the_oldest_are_forgotten(
    make: Making, draw: Callable[..., Claim], run: Runner
) -> None:
    engine = make()
    embeddings = easel_of(engine).embeddings
    claims = [draw(f"t{i}", prompt=("secret", "two")[i % 2], seed=i) for i in range(4)]
    first = run(engine, claims)
    # Two prompts, and the empty negative one of all.
    assert len(embeddings._kept) == 3
    assert "secret" not in repr(embeddings._kept.keys())
    embeddings._most_bytes = embeddings.bytes // 2
    again = run(engine, [*claims, draw("new", prompt="never seen")])
    assert embeddings.bytes <= embeddings._most_bytes
    assert [rgb_of(again[c.task_id]) for c in claims] == [rgb_of(first[c.task_id]) for c in claims]


def test_a_safety_checker_holds_back_one_picture_of_a_step(
    make: Making, draw: Callable[..., Claim], run: Runner
) -> None:
    engine = make()
    checked: list[int] = []

    def check(images: Any, device: Any, dtype: Any) -> tuple[Any, list[bool]]:
        checked.append(len(images))
        return images, [len(checked) == 2]

    easel_of(engine)._stage.run_safety_checker = check
    outputs = run(engine, [draw(name) for name in "abc"])
    failure = outputs["b"].failure
    assert failure is not None
    assert failure.code == "content_filtered"
    assert outputs["a"].failure is outputs["c"].failure is None


def test_a_model_refuses_a_scheduler_it_was_not_made_for(
    make: Making, draw: Callable[..., Claim], run: Runner
) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    engine = make()
    engine._painter.pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    failure = run(engine, [draw("a", scheduler="ddim")])["a"].failure
    assert failure is not None
    assert failure.code == "invalid_params"
    assert "scheduler 'ddim'" in failure.message


def test_a_denoiser_whose_rows_are_not_their_own_is_drawn_whole(
    make: Making,
    draw: Callable[..., Claim],
    run: Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from diffusers import UNet2DConditionModel

    plain = UNet2DConditionModel.forward

    def mixing(self: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        out = plain(self, sample, *args, **kwargs)
        return (out[0] + 3 * out[0].mean(dim=0, keepdim=True),)

    monkeypatch.setattr(UNet2DConditionModel, "forward", mixing)
    engine = make()
    assert isinstance(engine._easel, WholeEasel)
    assert "whole batches, not on steps" in caplog.text
    assert rgb_of(run(engine, [draw("a")])["a"])


def test_memory_that_is_short_at_load_is_no_reason_to_draw_whole(
    make: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import UNet2DConditionModel

    def short(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(UNet2DConditionModel, "forward", short)
    with pytest.raises(torch.OutOfMemoryError):
        make()


def test_another_size_is_taken_without_drawing_anything(
    make: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import UNet2DConditionModel

    engine = make()
    monkeypatch.setattr(UNet2DConditionModel, "forward", None)
    engine.resize(8)
    assert easel_of(engine).most_rows == 16


@pytest.mark.parametrize(("side", "together"), [(32, 8), (512, 2), (1024, 1)])
def test_large_pictures_are_decoded_fewer_at_a_time(side: int, together: int) -> None:
    """On a CPU, where a decode of eight of them could take all memory."""
    vae = AutoencoderKL(block_out_channels=(32,), sample_size=side)
    assert _decoders(vae).most_rows == together
