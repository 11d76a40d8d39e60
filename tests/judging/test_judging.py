"""Sets of pictures and texts judged whole, by the models that ship."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genfarm_shared.errors import InvalidTask
from genfarm_shared.figures import Figure
from genfarm_workers import zoo
from genfarm_workers.judging.__main__ import judge, main
from genfarm_workers.judging.figures import Sample
from genfarm_workers.judging.perplexity import perplexity
from genfarm_workers.judging.reference import open_file
from genfarm_workers.judging.texts import begin_alike
from genfarm_workers.zoo.digits.data import real_digits
from genfarm_workers.zoo.judge_train import as_images

STORIES = ["The old captain had a small red boat.", "One rainy morning a fox came by."]


def real_samples(folder: Path, number: int) -> list[Sample]:
    """Real digits that no training saw, as if a farm had drawn them."""
    digits = real_digits(held_out=True)
    samples = []
    for place, image in enumerate(as_images(digits.ink[:number])):
        path = folder / f"{place:03d}.png"
        image.save(path)
        samples.append(Sample(path.stem, f"the digit {digits.labels[place]}", path=str(path)))
    return samples


def by_name(figures: Sequence[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_real_digits_are_judged_to_be_as_good_as_real_ones(tmp_path: Path) -> None:
    found = judge(real_samples(tmp_path, 120), "digits")
    figures = by_name(found.figures)
    fid = figures["FID judge"]
    assert fid.real is not None
    assert fid.value < 2 * fid.real
    assert figures["agreement"].value > 0.97
    assert figures["precision judge"].value > 0.9
    assert sum(asked for asked, _ in found.labels.values()) == figures["agreement"].n == 120
    assert figures["exact duplicates"].value == 0


def test_empty_sheets_are_judged_to_be_far_from_digits_and_all_alike(tmp_path: Path) -> None:
    samples = real_samples(tmp_path, 12)
    for sample in samples:
        Image.new("RGB", (32, 32), "white").save(str(sample.path))
    found = judge(samples, "digits")
    figures = by_name(found.figures)
    fid = figures["FID judge"]
    assert fid.value > 5 * (fid.real or 0)
    assert figures["Inception Score"].value == pytest.approx(1)
    assert figures["exact duplicates"].value == pytest.approx(11 / 12)
    assert {(pair.first, pair.is_same) for pair in found.pairs} == {("000", True)}


def test_a_folder_of_pictures_serves_as_the_real_ones(tmp_path: Path) -> None:
    samples = real_samples(tmp_path, 40)
    found = judge(samples[:10], str(tmp_path))
    assert "30 pictures of" in found.remarks[0]
    assert by_name(found.figures)["precision judge"].value > 0.5
    with pytest.raises(InvalidTask, match="expected 'digits' or a folder"):
        judge(samples, str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidTask, match="holds 0 pictures"):
        judge(samples, str(tmp_path / "empty"))


def test_a_clear_picture_is_judged_on_white_paper_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGBA", (4, 2), (0, 0, 0, 0)).save(tmp_path / "a.png", exif=exif)
    opened = open_file(tmp_path / "a.png")
    assert (opened.size, opened.getpixel((0, 0))) == ((2, 4), (255, 255, 255))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InvalidTask, match=r"b\.png cannot be read"):
        open_file(tmp_path / "b.png")


def test_without_real_pictures_it_says_how_to_name_some(tmp_path: Path) -> None:
    found = judge(real_samples(tmp_path, 5))
    assert "--against digits" in found.remarks[0]
    assert {"FID judge", "KID judge"}.isdisjoint(by_name(found.figures))


@pytest.fixture(scope="module")
def teller() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = zoo.path("stories")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def test_perplexity_is_exp_of_the_models_own_cross_entropy(teller: tuple[Any, Any]) -> None:
    model, tokenizer = teller
    losses, tokens = 0.0, 0
    for text in STORIES:
        ids = tokenizer(tokenizer.bos_token + text, return_tensors="pt").input_ids
        with torch.inference_mode():
            losses += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    found = perplexity(model, tokenizer, [("", text) for text in STORIES], 128)
    assert found.tokens == tokens
    assert found.value == pytest.approx(math.exp(losses / tokens), rel=1e-4)


def test_a_continuation_is_judged_after_its_prompt(teller: tuple[Any, Any]) -> None:
    model, tokenizer = teller
    alone = perplexity(model, tokenizer, [("", " a small red boat.")], 128)
    after = perplexity(model, tokenizer, [("The old captain had", " a small red boat.")], 128)
    assert after.tokens == alone.tokens
    assert after.value < alone.value
    assert perplexity(model, tokenizer, [("", STORIES[0])], 4).cut == 1
    assert perplexity(model, tokenizer, [("", "")], 128).value == math.inf


def test_texts_are_judged_beside_real_ones(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("\n".join(STORIES))
    texts = [*STORIES, STORIES[0], "qxz vvk wwj jjq"]
    samples = [Sample(str(i), "", text=text) for i, text in enumerate(texts)]
    found = judge(samples, str(tmp_path / "real.txt"))
    figures = by_name(found.figures)
    assert figures["perplexity"].value > (figures["perplexity"].real or math.inf)
    assert figures["distinct-1"].value < (figures["distinct-1"].real or 0)
    assert figures["exact duplicates"].value == 0.25
    assert [(pair.first, pair.second) for pair in found.pairs] == [("0", "2")]
    with pytest.raises(InvalidTask, match="no text-generation model of the registry"):
        judge(samples, model="digits")


def test_real_texts_are_judged_behind_a_beginning_as_long_as_the_prompts() -> None:
    assert begin_alike(["The old", ""], ["A fox came by.", "One", "By the sea"]) == [
        ("A fox", " came by."),
        ("", "One"),
        ("By the", " sea"),
    ]
    assert begin_alike(["far too long a prompt"], ["A fox", ""]) == [("A", " fox"), ("", "")]


def test_the_same_texts_have_the_same_perplexity_on_either_side(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("\n".join(STORIES))
    halves = begin_alike(["One rainy morning"], STORIES)
    samples = [Sample(begin, begin, text=rest) for begin, rest in halves]
    figure = by_name(judge(samples, str(tmp_path / "real.txt")).figures)["perplexity"]
    assert figure.value == pytest.approx(figure.real)


def test_the_program_says_in_a_line_what_cannot_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samples.jsonl").write_text(json.dumps({"name": "a", "prompt": "", "text": "b"}))
    assert main([str(tmp_path), "--against", str(tmp_path / "absent")]) == 2
    assert "expected a file with a text a line" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["what"] == "texts"
