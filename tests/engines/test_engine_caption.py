"""The caption engine on tiny random models of both families; the oracle is their own `generate`."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.caption import CaptionEngine
from genfarm_workers.engines.opening import MOST_EDGE, MOST_PIXELS, open_picture
from genfarm_workers.engines.registry import build, no_tick
from genfarm_workers.zoo.captions.train import build_model, build_processor
from genfarm_workers.zoo.captions.words import build_tokenizer

from .fakes import Claimer, Runner

SOURCE = "00/" + "0" * 64 + ".png"
FAMILIES = ("vision-encoder-decoder", "blip")
Making = Callable[..., CaptionEngine]
Asking = Callable[..., Claim]


def file_of(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png_of_nothing(width: int, height: int) -> bytes:
    """The head of a PNG that says how large it is, and no pixel."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (head, b"IDAT", b"IEND")
    written = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def noise(seed: int, size: int = 40) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size, size, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def texts(output: Output) -> list[str]:
    assert output.failure is None, output.failure
    assert output.output is not None
    found: list[str] = output.output["texts"]
    return found


def refusal(output: Output) -> str:
    assert output.failure is not None
    assert output.failure.code == "invalid_params"
    return output.failure.message


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model of each family, with the words of the starter model."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

    tokenizer = build_tokenizer()
    torch.manual_seed(3)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 4, "projection_dim": 32}
    ends = {"bos_token_id": 0, "sep_token_id": 1, "eos_token_id": 1, "pad_token_id": 2}
    text = small | ends | {"vocab_size": len(tokenizer), "max_position_embeddings": 48}
    vision = small | {"image_size": 32, "patch_size": 8}
    blip = BlipConfig(text_config=text | {"encoder_hidden_size": 32}, vision_config=vision)
    models = (build_model(tokenizer), BlipForConditionalGeneration(blip))
    sized = {"height": 32, "width": 32}
    made = {}
    for name, model, processor in zip(
        FAMILIES, models, (build_processor(), BlipImageProcessorPil(size=sized)), strict=True
    ):
        for weights in model.parameters():
            weights.data.mul_(4.0)  # so that pictures, and not only words, decide
        made[name] = tmp_path_factory.mktemp(name)
        for part in (model, tokenizer, processor):
            part.save_pretrained(made[name])
    return made


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(folders: dict[str, Path], entry: Callable[..., ModelEntry]) -> Making:
    def engine_of(family: str = FAMILIES[0], tick: Any = no_tick, **values: Any) -> CaptionEngine:
        options = {"source": str(folders[family]), "dtype": "float32", **values}
        engine = CaptionEngine(entry("tiny", "image-to-text", "caption", **options), "cpu", tick)
        engine.load()
        return engine

    return engine_of


@pytest.fixture
def ask(claim: Claimer) -> Asking:
    def task(name: str, picture: Image.Image | bytes | None, **values: Any) -> Claim:
        made = claim(name, "image-to-text", "tiny", image=SOURCE, **values)
        content = file_of(picture) if isinstance(picture, Image.Image) else picture
        files = {} if content is None else {"image": content}
        names = ("task_id", "job_id", "attempt", "kind", "model", "batch_key", "rows", "params")
        return Claim(**{name: getattr(made, name) for name in names}, seed=made.seed, files=files)

    return task


def stock_caption(folder: Path, picture: Image.Image, prompt: str, tokens: int) -> str:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt").pixel_values
    ids = [0, *tokenizer(prompt, add_special_tokens=False).input_ids]
    if model.config.model_type == "blip":
        named = {"input_ids": torch.tensor([[*ids, 1]])}
    else:
        named = {"decoder_input_ids": torch.tensor([ids])}
    written = model.generate(pixel_values=pixels, **named, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(written[0], skip_special_tokens=True))


@pytest.mark.parametrize("prompt", ["", "the digit"])
def test_a_greedy_caption_is_what_the_stock_model_says(
    folders: dict[str, Path], make: Making, ask: Asking, run: Runner, family: str, prompt: str
) -> None:
    tasks = [ask(str(s), noise(s), prompt=prompt, max_new_tokens=6) for s in range(3)]
    outputs = run(make(family), tasks)
    said = [texts(outputs[str(seed)])[0] for seed in range(3)]
    assert said == [stock_caption(folders[family], noise(seed), prompt, 6) for seed in range(3)]
    assert all(text.startswith(prompt) for text in said)


def test_a_caption_alone_is_the_same_in_any_company(
    make: Making, ask: Asking, run: Runner, family: str
) -> None:
    warm = {"temperature": 1.5, "max_new_tokens": 9}
    tasks = [
        ask("plain", noise(1), max_new_tokens=5),
        ask("warm", noise(1), seed=7, **warm),
        ask("three", noise(2), seed=8, n=3, **warm),
        ask("begun", noise(3), prompt="a handwritten", seed=9, **warm),
        ask("other", noise(3), prompt="the", max_new_tokens=2),
    ]
    engine = make(family)
    alone = {task.task_id: run(engine, [task])[task.task_id].output for task in tasks}
    together = run(engine, tasks)
    assert {name: output.output for name, output in together.items()} == alone
    assert len(set(texts(together["three"]))) > 1


def test_another_seed_says_it_otherwise_and_the_same_says_it_again(
    make: Making, ask: Asking, run: Runner
) -> None:
    engine = make()
    tasks = [ask(str(seed), noise(1), seed=seed, temperature=2.0) for seed in range(4)]
    first, again = run(engine, tasks), run(engine, tasks)
    assert [texts(first[name]) for name in first] == [texts(again[name]) for name in first]
    assert len({texts(output)[0] for output in first.values()}) > 1


def test_what_cannot_be_captioned_is_refused_beside_what_can(
    make: Making, ask: Asking, run: Runner
) -> None:
    whole = file_of(noise(1))
    tasks = [
        ask("good", whole, max_new_tokens=3),
        ask("cut", whole[: len(whole) // 2]),
        ask("words", b"once upon a time"),
        ask("none", None),
        ask("long", whole, max_new_tokens=64),
    ]
    outputs = run(make(), tasks)
    assert texts(outputs["good"]) == texts(run(make(), tasks[:1])["good"])
    for name in ("cut", "words"):
        assert "image: " in refusal(outputs[name])
        assert "no whole picture" in refusal(outputs[name])
    assert "did not come with the task" in refusal(outputs["none"])
    assert "more than the 64 that model 'tiny' can say" in refusal(outputs["long"])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pictures_of_every_mode_are_seen(make: Making, ask: Asking, run: Runner, mode: str) -> None:
    picture = noise(1, size=1) if mode == "1" else noise(1).convert("L")
    form = "TIFF" if mode in ("CMYK", "F", "I") else "PNG"
    task = ask("a", file_of(picture.convert(mode), form), max_new_tokens=2)
    assert len(texts(run(make(), [task])["a"])) == 1


def opened(task: Claim) -> Image.Image:
    picture = open_picture(task, "image")
    assert isinstance(picture, Image.Image)
    return picture


def test_a_photo_taken_sideways_is_turned_upright(ask: Asking) -> None:
    upright = Image.new("RGB", (6, 4), "white")
    upright.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise"
    sideways = file_of(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert opened(ask("a", sideways)).tobytes() == upright.tobytes()


def test_what_is_clear_is_white_and_what_has_16_bits_keeps_its_greys(ask: Asking) -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert opened(ask("a", clear)).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.new("I;16", (2, 2), 128 * 257)
    assert opened(ask("a", deep)).getpixel((0, 0)) == (128, 128, 128)


def test_a_bomb_and_a_format_that_runs_programs_are_refused(ask: Asking) -> None:
    wide, huge = (png_of_nothing(side, side) for side in (MOST_PIXELS // 4000, 2**31 - 1))
    for picture in (wide, huge, file_of(noise(1), "EPS")):
        refused = open_picture(ask("a", picture), "image")
        assert not isinstance(refused, Image.Image)
        assert refused.code == "invalid_params"
    refused = open_picture(ask("a", wide), "image")
    assert "expected at most 50,000,000 together" in str(refused)
    strip = open_picture(ask("a", png_of_nothing(MOST_EDGE + 1, 1)), "image")
    assert "20,000 on an edge" in str(strip)


def test_a_batch_ends_early_when_its_tasks_are_dropped(make: Making, ask: Asking) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        engine.drop(["a", "b"])

    engine = make(tick=tick)
    options = {"max_new_tokens": 40}
    for task in (ask("a", noise(1), **options), ask("b", noise(1), prompt="the", **options)):
        engine.admit([task])
    assert engine.step(0.0) == []
    assert len(ticks) == 2  # one for each length of beginning
    assert engine.wakes_at(0.0) is None


def test_when_memory_runs_out_the_batch_is_written_in_parts(
    make: Making, ask: Asking, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make()
    tasks = [ask(str(seed), noise(seed), max_new_tokens=3) for seed in range(4)]
    whole = run(engine, tasks)
    model = engine.modules()[0]
    generate, sizes = model.generate, list[int]()

    def narrow(pixel_values: torch.Tensor, **options: Any) -> torch.Tensor:
        sizes.append(len(pixel_values))
        if len(pixel_values) > 2:
            raise RuntimeError("CUDA out of memory")
        written: torch.Tensor = generate(pixel_values=pixel_values, **options)
        return written

    monkeypatch.setattr(model, "generate", narrow)
    parts = run(engine, tasks)
    assert [texts(parts[name]) for name in whole] == [texts(whole[name]) for name in whole]
    assert sizes == [4, 2, 2]
    assert engine.work.shortages == 1


def test_a_model_of_another_family_is_unavailable(
    text_folder: Path, entry: Callable[..., ModelEntry]
) -> None:
    wrong = entry("wrong", "image-to-text", "caption", source=str(text_folder))
    with pytest.raises(ModelUnavailable, match="of type 'gpt2'"):
        build(wrong, "cpu").load()
