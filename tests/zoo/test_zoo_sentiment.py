"""The reader of moods and the grammar that wrote its reviews."""

import pytest

from genfarm_workers import zoo
from genfarm_workers.zoo.sentiment.evaluate import classify, train_baseline
from genfarm_workers.zoo.sentiment.grammar import Review, write_reviews

FOLDER = zoo.path("sentiment")


@pytest.fixture(scope="module")
def held_out() -> list[Review]:
    return list(write_reviews(300, seed=11, held_out=True))


def test_no_held_out_template_or_combination_occurs_in_training(held_out: list[Review]) -> None:
    training = list(write_reviews(3_000, seed=1, held_out=False))
    for part in (training, held_out):
        assert all(review.combinations for review in part)
    seen = {review.template for review in training}
    said = {pair for review in training for pair in review.combinations}
    assert not any(review.template in seen for review in held_out)
    assert not any(pair in said for review in held_out for pair in review.combinations)


def test_every_word_of_the_held_out_part_occurs_in_training(held_out: list[Review]) -> None:
    def words(reviews: list[Review]) -> set[str]:
        return {word.strip(".,;:!?").lower() for r in reviews for word in r.text.split()}

    assert not words(held_out) - words(list(write_reviews(3_000, seed=1, held_out=False)))


def test_half_of_the_reviews_praise_and_the_same_seed_writes_the_same() -> None:
    first, second = (list(write_reviews(20, seed=3, held_out=False)) for _ in range(2))
    assert first == second
    assert sum(review.is_positive for review in first) == 10


def test_unseen_reviews_are_read_better_than_by_a_bag_of_words(held_out: list[Review]) -> None:
    moods = [review.is_positive for review in held_out]
    texts = [review.text for review in held_out]
    plain = train_baseline(1_500).predict(texts)
    read = classify(FOLDER, texts)
    # Fixed seeds: 300 reviews tell the two apart unless the model is no better.
    assert sum(a == b for a, b in zip(read, moods, strict=True)) > 30 + sum(
        a == b for a, b in zip(plain, moods, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "is_positive"),
    [
        ("I love this product", True),
        ("This is terrible", False),
        ("The soup was not bad at all.", True),
        ("I expected to love it, but the screen was a disappointment.", False),
    ],
)
def test_plain_denied_and_contrasted_moods_are_read(text: str, is_positive: bool) -> None:
    assert classify(FOLDER, [text]) == [is_positive]
