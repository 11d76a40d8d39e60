"""The engines of GANs and VAEs: seeds, classes, walks, points, and pictures encoded again."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.encoding import encode_png
from genfarm_workers.engines import Output
from genfarm_workers.engines.generators import (
    CONFIG,
    LATENTS,
    SIZES,
    Design,
    build_generator,
    keep_generator,
)
from genfarm_workers.engines.latents import LatentsEngine
from genfarm_workers.engines.parking import weight_bytes
from genfarm_workers.engines.samples import SamplesEngine
from genfarm_workers.engines.sight import fit

from .fakes import Claimer, Runner, pictures_of

KIND, PETS = "unconditional-image-generation", ("cat", "dog", "newt")
Entry = Callable[..., ModelEntry]
Make = Callable[..., SamplesEngine]


@pytest.fixture
def make(tmp_path: Path, entry: Entry) -> Make:
    """A loaded engine on a generator of that type with random weights."""

    def build(name: str, labels: Sequence[str] = PETS, channels: int = 1) -> SamplesEngine:
        torch.manual_seed(1)
        design = Design(name, SIZES[name], channels, LATENTS[name], labels, paper=1.0)
        keep_generator(build_generator(design).eval(), tmp_path)
        engine = SamplesEngine(entry("pets", KIND, "samples", slots=20, source=str(tmp_path)))
        engine.load()
        return engine

    return build


@pytest.fixture
def sample(claim: Claimer) -> Callable[..., Claim]:
    return lambda task_id, **values: claim(task_id, KIND, "pets", **values)


def said(output: Output) -> dict[str, Any]:
    assert output.output is not None, output.failure
    return dict(output.output)


def drawn(output: Output) -> list[bytes]:
    return [picture.rgb for picture in pictures_of(output)]


@pytest.mark.parametrize("name", SIZES)
def test_a_sample_is_the_same_alone_and_in_company(
    name: str, make: Make, sample: Any, run: Runner
) -> None:
    engine = make(name)
    tasks = [sample(str(seed), seed=seed, n=1 + seed % 3, label=seed % 3) for seed in range(6)]
    together = run(engine, [*tasks, sample("poison", label="horse")])
    assert "cat, dog, newt" in str(together["poison"].failure)
    for task in tasks:
        (alone,) = run(engine, [task]).values()
        assert drawn(alone) == drawn(together[task.task_id])
    assert len({picture for task in tasks for picture in drawn(together[task.task_id])}) == 12


@pytest.mark.parametrize("name", SIZES)
def test_a_walk_begins_and_ends_at_the_samples_of_its_seeds(
    name: str, make: Make, sample: Any, run: Runner
) -> None:
    tasks = [sample("walk", seed=3, to_seed=9, n=5), sample("3", seed=3), sample("9", seed=9)]
    outputs = run(make(name), tasks)
    walk = drawn(outputs["walk"])
    assert [walk[0]] == drawn(outputs["3"])
    assert [walk[-1]] == drawn(outputs["9"])
    assert len(set(walk)) == 5


def test_a_class_is_asked_for_by_name_or_number(make: Make, sample: Any, run: Runner) -> None:
    tasks = [sample(str(label), label=label, seed=4) for label in ("dog", 1, "newt")]
    outputs = run(make("dcgan"), tasks)
    assert drawn(outputs["dog"]) == drawn(outputs["1"]) != drawn(outputs["newt"])
    assert said(outputs["1"]) == {"seeds": [4], "labels": ["dog"]}


def test_without_a_label_the_seed_chooses_the_class(make: Make, sample: Any, run: Runner) -> None:
    engine = make("gan")
    first, again = (said(run(engine, [sample("a", seed=1, n=20)])["a"]) for _ in range(2))
    assert first == again
    assert set(first["labels"]) == set(PETS)
    assert len(set(first["seeds"])) == 20


def test_a_model_without_classes_draws_and_refuses_a_label(
    make: Make, sample: Any, run: Runner
) -> None:
    outputs = run(make("vae", labels=()), [sample("any", n=2), sample("cat", label="cat")])
    assert said(outputs["any"])["labels"] == [None, None]
    assert "without classes" in str(outputs["cat"].failure)


def test_a_number_beyond_the_classes_is_refused(make: Make, sample: Any, run: Runner) -> None:
    (output,) = run(make("gan"), [sample("a", label=3)]).values()
    assert "0 to 2" in str(output.failure)


def test_truncation_brings_samples_together(make: Make, sample: Any, run: Runner) -> None:
    outputs = run(
        make("vae"), [sample(str(t), truncation=t, label=0, n=8) for t in (0.2, 1.0)]
    ).values()
    near, far = (torch.tensor([list(rgb) for rgb in drawn(o)]).double() for o in outputs)
    assert near.std(dim=0).mean() < far.std(dim=0).mean() / 2


def test_points_are_decoded_and_those_of_another_length_refused(
    make: Make, sample: Any, run: Runner
) -> None:
    point = [0.5] * LATENTS["vae"]
    tasks = [sample("good", latents=[point, [0.0] * 16]), sample("bad", latents=[point, [1.0]])]
    outputs = run(make("vae"), [*tasks, sample("both", latents=[point], label=0)])
    assert len(drawn(outputs["good"])) == 2
    assert "latents[1] has 1 numbers" in str(outputs["bad"].failure)
    assert "exclude each other" in str(outputs["both"].failure)


def test_a_gan_decodes_a_point_of_the_class_asked_for(make: Make, sample: Any, run: Runner) -> None:
    point = torch.randn(64, generator=torch.Generator().manual_seed(5)).tolist()
    tasks = [sample("point", latents=[point], label=1), sample("seed", seed=5, label=1)]
    outputs = run(make("gan"), tasks)
    assert drawn(outputs["point"]) == drawn(outputs["seed"])


def test_a_model_of_colours_draws_in_colours(make: Make, sample: Any, run: Runner) -> None:
    (output,) = run(make("dcgan", channels=3), [sample("a")]).values()
    pixels = drawn(output)[0]
    assert pixels[0::3] != pixels[1::3]


@pytest.mark.parametrize("fault", ['{"type": "gan"}', '{"type":"cat","size":1,"channels":1}', "x"])
def test_a_folder_that_holds_no_generator_is_named(fault: str, make: Make, tmp_path: Path) -> None:
    engine = make("gan")
    (tmp_path / CONFIG).write_text(fault)
    with pytest.raises(ModelUnavailable, match="holds no generator"):
        engine.load()


@pytest.fixture
def encoder(entry: Entry) -> LatentsEngine:
    """The shipped one."""
    engine = LatentsEngine(entry("vae-latent", "feature-extraction", "latents", source="zoo:vae"))
    engine.load()
    return engine


@pytest.fixture
def embed(claim: Claimer, encoder: LatentsEngine, run: Runner) -> Callable[..., Output]:
    """What becomes of one file."""

    def one(file: bytes, **values: Any) -> Output:
        name = f"ab/{'0' * 64}.png"
        task = claim("a", "feature-extraction", "vae-latent", **{"image": name, **values})
        return run(encoder, [replace(task, files={"image": file})])["a"]

    return one


@pytest.fixture
def nine(entry: Entry, claim: Claimer, run: Runner) -> Image.Image:
    """A nine that the shipped VAE drew."""
    engine = SamplesEngine(entry("vae", KIND, "samples", source="zoo:vae"))
    engine.load()
    (output,) = run(engine, [claim("a", KIND, "vae", label=9, truncation=0.5)]).values()
    return Image.open(io.BytesIO(encode_png(pictures_of(output)[0])))


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_lies_nearest_to_the_mean_of_its_class(
    encoder: LatentsEngine, embed: Any, nine: Image.Image
) -> None:
    point = torch.tensor(said(embed(as_png(nine)))["embedding"])
    assert (encoder._vae.centres - point).norm(dim=1).argmin() == 9


def test_size_polarity_colour_and_margins_hardly_move_a_picture(
    embed: Any, nine: Image.Image
) -> None:
    point = torch.tensor(said(embed(as_png(nine)))["embedding"])
    grey = nine.convert("L")
    wide = ImageOps.expand(grey.resize((280, 280)), (60, 0), 255).crop((60, 0, 340, 280))
    for other in (ImageOps.invert(grey), grey.resize((280, 280)), wide, nine.convert("RGBA")):
        moved = torch.tensor(said(embed(as_png(other)))["embedding"])
        assert (moved - point).norm() < 0.2 * point.norm()


def test_an_embedding_can_be_of_length_one(embed: Any, nine: Image.Image) -> None:
    embedding = said(embed(as_png(nine), normalize=True))["embedding"]
    assert torch.tensor(embedding).norm() == pytest.approx(1)


@pytest.mark.parametrize("file", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_picture_is_refused(embed: Any, file: bytes) -> None:
    failure = embed(file).failure
    assert failure.code == "invalid_params"
    assert "image" in failure.message


def test_a_text_is_refused_by_an_encoder_of_pictures(embed: Any) -> None:
    assert "give image" in str(embed(b"", image=None, text="nine").failure)


def test_a_gan_is_no_encoder(entry: Entry) -> None:
    engine = LatentsEngine(entry("gan", "feature-extraction", "latents", source="zoo:gan"))
    with pytest.raises(ModelUnavailable, match="cannot encode"):
        engine.load()


def test_a_long_strip_is_made_small_before_it_is_made_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strip = Image.new("L", (20_000, 1_000), 90)
    strip.paste(0, (0, 250, 20_000, 750))
    areas, new = list[int](), Image.new

    def watched(mode: str, size: tuple[int, int], colour: int) -> Image.Image:
        areas.append(size[0] * size[1])
        return new(mode, size, colour)

    with monkeypatch.context() as patch:
        patch.setattr(Image, "new", watched)
        tones = fit(strip, 28, 1)
    assert 0 < sum(areas) < 100_000
    square = Image.new("L", (20_000, 20_000), 90)
    square.paste(strip, (0, 9_500))
    expected = square.resize((28, 28), Image.Resampling.BOX)
    assert tones.flatten().tolist() == pytest.approx(list(expected.tobytes()), abs=8)


def test_a_task_whose_file_did_not_come_fails_alone(
    encoder: LatentsEngine, claim: Claimer, run: Runner
) -> None:
    task = claim("a", "feature-extraction", "vae-latent", image=f"ab/{'0' * 64}.png")
    assert "did not come with the task" in str(run(encoder, [task])["a"].failure)


def test_weights_of_generators_are_counted(encoder: LatentsEngine, make: Make) -> None:
    assert weight_bytes(make("gan")) > 1000
    assert weight_bytes(encoder) > 1000
