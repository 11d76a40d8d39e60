"""Judges generated pictures: against real ones, against their prompts, against each other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genfarm_shared.figures import Figure
from genfarm_shared.likeness import marks_of_picture
from genfarm_workers.judging.figures import Judgement, Sample
from genfarm_workers.judging.frechet import frechet_distance
from genfarm_workers.judging.inception import FEATURES, Inception
from genfarm_workers.judging.inception_score import inception_score
from genfarm_workers.judging.kernel import kernel_distance
from genfarm_workers.judging.manifolds import NEIGHBOURS, coverage
from genfarm_workers.judging.reference import RealPictures, open_file, read_pictures
from genfarm_workers.judging.twins import count_twins, find_twins
from genfarm_workers.zoo.digits.evaluate import asked_for
from genfarm_workers.zoo.judge import Judge, Verdict

Matrix = NDArray[np.float64]
#: Makes features (N, D) of pictures.
Describe = Callable[[Sequence[Image.Image]], Matrix]

#: Features of the judge's layer before the last.
JUDGE_FEATURES = 64


def judge_pictures(
    samples: Sequence[Sample], against: str | None, inception: Path | None
) -> Judgement:
    """Raises InvalidTask for a reference that cannot be, ModelUnavailable for the weights."""
    network = Inception.load(inception) if inception is not None else None
    images = [open_file(Path(sample.path or "")) for sample in samples]
    judge = Judge.load()
    real = read_pictures(against, len(images)) if against is not None else None
    remarks = [f"held against {real.said}"] if real else [_unheld(inception)]
    figures: list[Figure] = []
    if real is not None:
        describe: Describe = lambda some: _array(judge.describe(some)[0])  # noqa: E731
        figures += hold_against(images, real, describe, "judge", JUDGE_FEATURES)
        if network is not None:
            seen: Describe = lambda some: _array(network.describe(some))  # noqa: E731
            figures += hold_against(images, real, seen, "Inception-v3", FEATURES)
    figures.append(_score(judge, images, real))
    agreement, labels = _agreement(samples, judge.recognise(images))
    figures += agreement
    if not agreement:
        remarks.append("no agreement: no prompt names one digit")
    names = [sample.name for sample in samples]
    pixels = [f"{image.size}".encode() + image.tobytes() for image in images]
    pairs = find_twins(names, pixels, [marks_of_picture(image) for image in images])
    figures += count_twins(pairs, len(images))
    return Judgement("pictures", len(images), figures, pairs, labels, remarks)


def hold_against(
    images: Sequence[Image.Image],
    real: RealPictures,
    describe: Describe,
    features: str,
    width: int,
) -> list[Figure]:
    """FID, KID, precision and recall by features of that name, `width` numbers a picture."""
    ours, reference, others = (describe(s) for s in (images, real.reference, real.others))
    n, by = len(images), f"by {features} ({width} features)"
    if n <= NEIGHBOURS or len(others) <= NEIGHBOURS:
        return []
    # A covariance of D features has rank n - 1 at most.
    few = ", too few for its rank" if n <= width else ""
    ours_kid, real_kid = kernel_distance(ours, reference), kernel_distance(others, reference)
    ours_on, real_on = coverage(ours, reference), coverage(others, reference)
    spread = f"unbiased, scatters by {ours_kid.spread:.2g}"
    fid = frechet_distance(ours, reference), frechet_distance(others, reference)
    biased = f"biased upwards where n is small{few}: compare with real"
    return [
        Figure(f"FID {features}", *fid, n, f"distance {by}; {biased}", "less"),
        Figure(
            f"KID {features}", ours_kid.value, real_kid.value, n, f"distance {by}; {spread}", "less"
        ),
        Figure(
            f"precision {features}",
            ours_on.precision,
            real_on.precision,
            n,
            f"share that lies among the real ones {by}; grows with the number of real ones",
            "more",
        ),
        Figure(
            f"recall {features}",
            ours_on.recall,
            real_on.recall,
            n,
            f"share of real ones that lies among these {by}; grows with n",
            "more",
        ),
    ]


def _score(judge: Judge, images: Sequence[Image.Image], real: RealPictures | None) -> Figure:
    value = inception_score(_array(judge.describe(images)[1]))
    known = inception_score(_array(judge.describe(real.others)[1])) if real else None
    note = "1 to 10, sure and varied, by the judge's ten digits; too low where n is small"
    return Figure("Inception Score", value, known, len(images), note, "more")


def _agreement(
    samples: Sequence[Sample], verdicts: Sequence[Verdict]
) -> tuple[list[Figure], dict[str, tuple[int, int]]]:
    """How often the digit recognised is the one that the prompt names, over all and by digit."""
    labels: dict[str, tuple[int, int]] = {}
    for sample, verdict in zip(samples, verdicts, strict=True):
        digit = asked_for(sample.prompt)
        if digit is not None:
            asked, right = labels.get(str(digit), (0, 0))
            labels[str(digit)] = (asked + 1, right + (verdict.digit == digit))
    if not labels:
        return [], {}
    asked, right = (sum(part) for part in zip(*labels.values(), strict=True))
    note = "share whose digit the judge reads as the prompt's; it reads 99 % of real ones"
    figure = Figure("agreement", right / asked, None, asked, note, "more")
    return [figure], dict(sorted(labels.items()))


def _unheld(inception: Path | None) -> str:
    wanted = " (the Inception weights were not used)" if inception else ""
    return (
        "no FID, KID, precision and recall: name real pictures with --against digits or "
        f"--against FOLDER{wanted}"
    )


def _array(features: object) -> Matrix:
    return np.asarray(features, np.float64)
