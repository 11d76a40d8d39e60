"""The classifiers against the stock models' own forward, alone and in company."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.engines.classify import ImageClassifierEngine, TextClassifierEngine
from genfarm_workers.engines.opening import open_picture

from .encoders import WORDS, save_decoder, save_encoder, save_picture_model, save_text_model
from .fakes import Claimer, Runner

Entry = Callable[..., ModelEntry]

#: Of one to fifty words, so that they are run in three widths.
TEXTS = [" ".join(WORDS[(3 * k + j) % len(WORDS)] for j in range(1 + 7 * k)) for k in range(8)]


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def reader(text_folder: Path, entry: Entry) -> Callable[..., TextClassifierEngine]:
    """A loaded engine on the tiny BERT, with other values of its registry entry."""

    def make(folder: Path = text_folder, **values: Any) -> TextClassifierEngine:
        options = {"source": str(folder), "dtype": "float32", **values}
        engine = TextClassifierEngine(entry("tiny", "text-classification", "x", **options))
        engine.load()
        return engine

    return make


def labels_of(output: Output) -> list[dict[str, Any]]:
    assert output.failure is None, output.failure
    assert output.output is not None
    labels: list[dict[str, Any]] = output.output["labels"]
    return labels


def stock_scores(folder: Path, text: str, *, is_several: bool = False) -> dict[str, float]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")).logits
    scores = logits.sigmoid() if is_several else logits.softmax(dim=1)
    return {model.config.id2label[k]: score for k, score in enumerate(scores[0].tolist())}


def png(colour: str, size: tuple[int, int] = (16, 16), form: str = "PNG") -> bytes:
    picture = Image.linear_gradient("L").resize(size)
    ink, paper = Image.new("RGB", size, colour), Image.new("RGB", size, "white")
    file = io.BytesIO()
    Image.composite(ink, paper, picture).save(file, form)
    return file.getvalue()


def test_scores_are_those_of_the_stock_model_best_first(
    reader: Callable[..., TextClassifierEngine], text_folder: Path, claim: Claimer, run: Runner
) -> None:
    tasks = [claim(t, "text-classification", "tiny", text=t, top_k=3) for t in TEXTS]
    outputs = run(reader(), tasks)
    for text in TEXTS:
        labels = labels_of(outputs[text])
        assert {one["label"]: one["score"] for one in labels} == pytest.approx(
            stock_scores(text_folder, text), abs=1e-6
        )
        assert labels == sorted(labels, key=lambda one: -one["score"])


def test_a_text_scores_the_same_bytes_alone_and_in_any_company(
    reader: Callable[..., TextClassifierEngine], claim: Claimer, run: Runner
) -> None:
    def scores(engine: TextClassifierEngine, texts: Sequence[str]) -> dict[str, object]:
        tasks = [claim(t, "text-classification", "tiny", text=t, top_k=3) for t in texts]
        return {name: output.output for name, output in run(engine, tasks).items()}

    together = scores(reader(), TEXTS)
    assert together == scores(reader(), TEXTS[::-1])
    engine = reader()
    assert together == {text: scores(engine, [text])[text] for text in TEXTS}


def test_texts_of_one_width_share_a_call_whatever_their_order(
    reader: Callable[..., TextClassifierEngine], claim: Claimer, run: Runner
) -> None:
    texts = ["good"] * 4 + ["bad " * 20] * 4
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    engine = reader()
    run(engine, [claim(str(k), "text-classification", "tiny", text=texts[k]) for k in order])
    assert engine.work.calls == 2
    assert (engine.work.computed, engine.work.useful) == (8, 8)


def test_more_labels_than_there_are_gives_them_all(
    reader: Callable[..., TextClassifierEngine], claim: Claimer, run: Runner
) -> None:
    tasks = [
        claim(str(k), "text-classification", "tiny", text="good", top_k=k) for k in (1, 2, 1000)
    ]
    outputs = run(reader(), tasks)
    assert [len(labels_of(outputs[name])) for name in ("1", "2", "1000")] == [1, 2, 3]
    assert labels_of(outputs["1"]) == labels_of(outputs["1000"])[:1]


def test_labels_that_fit_together_are_scored_each_by_itself(
    reader: Callable[..., TextClassifierEngine], tmp_path: Path, claim: Claimer, run: Runner
) -> None:
    folder = save_text_model(tmp_path, problem_type="multi_label_classification")
    task = claim("a", "text-classification", "tiny", text=TEXTS[2], top_k=3)
    found = {one["label"]: one["score"] for one in labels_of(run(reader(folder), [task])["a"])}
    assert found == pytest.approx(stock_scores(folder, TEXTS[2], is_several=True), abs=1e-6)


def test_a_decoder_scores_the_last_token_of_each_text_as_the_stock_model_does(
    reader: Callable[..., TextClassifierEngine], tmp_path: Path, claim: Claimer, run: Runner
) -> None:
    # No token 0: only by the configuration's own can the padding be told.
    folder = save_decoder(tmp_path, num_labels=3, pad_token_id=4)
    outputs = run(
        reader(folder),
        [claim(t, "text-classification", "tiny", text=t, top_k=3) for t in TEXTS],
    )
    for text in TEXTS:
        found = {one["label"]: one["score"] for one in labels_of(outputs[text])}
        assert found == pytest.approx(stock_scores(folder, text), abs=1e-5)


@pytest.mark.parametrize("slots", [1, 4])
def test_a_decoder_that_names_no_padding_is_unavailable(
    slots: int, reader: Callable[..., TextClassifierEngine], tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable, match="pad_token_id in its config"):
        reader(save_decoder(tmp_path, pad_token_id=None), slots=slots)


@pytest.mark.parametrize(
    "values",
    [
        {"num_labels": 1},
        {"num_labels": 1, "problem_type": "regression"},
        {"num_labels": 3, "problem_type": "regression"},
    ],
)
def test_numbers_of_a_regression_and_of_one_label_are_those_of_the_stock_pipeline(
    values: dict[str, Any],
    reader: Callable[..., TextClassifierEngine],
    tmp_path: Path,
    claim: Claimer,
    run: Runner,
) -> None:
    from transformers import pipeline

    folder = save_decoder(tmp_path, pad_token_id=0, **values)
    stock = pipeline("text-classification", model=str(folder), top_k=None)
    task = claim("a", "text-classification", "tiny", text=TEXTS[2], top_k=3)
    found = {one["label"]: one["score"] for one in labels_of(run(reader(folder), [task])["a"])}
    expected = {one["label"]: one["score"] for one in stock([TEXTS[2]])[0]}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_text_that_is_too_long_fails_alone_and_says_how_to_cut_it(
    reader: Callable[..., TextClassifierEngine], claim: Claimer, run: Runner
) -> None:
    texts = {"fits": "good", "long": "bad " * 63}
    tasks = [claim(name, "text-classification", "tiny", text=text) for name, text in texts.items()]
    outputs = run(reader(), tasks)
    assert labels_of(outputs["fits"])
    failure = outputs["long"].failure
    assert failure is not None
    assert failure.code == "invalid_params"
    assert "has 65 tokens" in failure.message
    assert "truncate = true" in failure.message
    cut = run(reader(limits={"truncate": True}), tasks)
    assert labels_of(cut["long"])


def test_a_call_that_memory_is_not_enough_for_is_made_in_halves(
    reader: Callable[..., TextClassifierEngine], claim: Claimer, run: Runner
) -> None:
    engine = reader()
    compute = engine.compute
    sizes: list[int] = []

    def scarce(inputs: Sequence[list[int]]) -> list[list[float]]:
        sizes.append(len(inputs))
        if len(inputs) > 1:
            raise MemoryError
        return compute(inputs)

    engine.compute = scarce  # type: ignore[method-assign]
    tasks = [claim(str(k), "text-classification", "tiny", text="good") for k in range(4)]
    assert all(labels_of(output) for output in run(engine, tasks).values())
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert engine.work.shortages == 2


def test_a_model_that_is_no_classifier_is_unavailable_with_its_folder(
    reader: Callable[..., TextClassifierEngine], tmp_path: Path
) -> None:
    (save_encoder(tmp_path) / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="AutoModelForSequenceClassification"):
        reader(tmp_path)


def test_a_checkpoint_without_a_head_is_unavailable_and_not_served_with_a_random_one(
    reader: Callable[..., TextClassifierEngine], tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable, match=r"lacks weights of Bert.*classifier"):
        reader(save_encoder(tmp_path))


def test_a_head_of_another_size_is_unavailable(
    reader: Callable[..., TextClassifierEngine], tmp_path: Path
) -> None:
    config = save_text_model(tmp_path) / "config.json"
    labels = {str(place): f"thing {place}" for place in range(5)}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"id2label": labels}))
    with pytest.raises(ModelUnavailable, match=r"another size: classifier\.bias"):
        reader(tmp_path)


@pytest.fixture
def seer(tmp_path: Path, entry: Entry) -> Callable[[str], ImageClassifierEngine]:
    def make(family: str) -> ImageClassifierEngine:
        folder = save_picture_model(tmp_path / family, family)
        options = {"source": str(folder), "dtype": "float32"}
        engine = ImageClassifierEngine(entry("tiny", "image-classification", "x", **options))
        engine.load()
        return engine

    return make


@pytest.fixture
def picture(claim: Claimer) -> Callable[..., Any]:
    """A claim of one picture, its content filled in as a worker does."""

    def make(task_id: str, content: bytes, **values: Any) -> Any:
        name = f"ab/{'0' * 64}.png"
        made = claim(task_id, "image-classification", "tiny", image=name, **values)
        return replace(made, files={"image": content})

    return make


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_pictures_of_any_size_score_as_by_the_stock_model_and_pipeline(
    family: str,
    seer: Callable[[str], ImageClassifierEngine],
    picture: Callable[..., Any],
    run: Runner,
) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

    contents = {c: png(c, (16 + 9 * k, 40)) for k, c in enumerate(("red", "blue", "green"))}
    engine = seer(family)
    outputs = run(engine, [picture(name, content) for name, content in contents.items()])
    stock = pipeline(
        "image-classification",
        model=AutoModelForImageClassification.from_pretrained(engine.entry.source),
        image_processor=AutoImageProcessor.from_pretrained(engine.entry.source, backend="pil"),
    )
    for name, content in contents.items():
        expected = {r["label"]: r["score"] for r in stock(Image.open(io.BytesIO(content)))}
        found = {one["label"]: one["score"] for one in labels_of(outputs[name])}
        assert found == pytest.approx(expected, abs=1e-6)
        alone = run(seer(family), [picture("alone", content)])["alone"]
        assert alone.output == outputs[name].output


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not a picture", "UnidentifiedImageError"), (png("red")[:60], "OSError"), (b"", "0 bytes")],
)
def test_a_broken_picture_fails_alone(
    content: bytes,
    reason: str,
    seer: Callable[[str], ImageClassifierEngine],
    picture: Callable[..., Any],
    run: Runner,
) -> None:
    outputs = run(seer("resnet"), [picture("whole", png("red")), picture("broken", content)])
    assert labels_of(outputs["whole"])
    failure = outputs["broken"].failure
    assert failure is not None
    assert failure.code == "invalid_params"
    assert failure.message.startswith("image: ")
    assert reason in failure.message


def test_what_is_clear_in_a_picture_is_white_paper(picture: Callable[..., Any]) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(file, "PNG")
    opened = open_picture(picture("a", file.getvalue()), "image")
    assert isinstance(opened, Image.Image)
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_turned_as_its_camera_noted(picture: Callable[..., Any]) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(file, "JPEG", exif=exif)
    opened = open_picture(picture("a", file.getvalue()), "image")
    assert isinstance(opened, Image.Image)
    assert opened.size == (2, 4)
