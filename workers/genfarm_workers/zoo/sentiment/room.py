"""The room of the reader of moods, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.sentiment.evaluate import measure_sentiment as measure
from genfarm_workers.zoo.sentiment.evaluate import score_sentiment as score
from genfarm_workers.zoo.sentiment.train import DEFAULT_STEPS
from genfarm_workers.zoo.sentiment.train import train_sentiment as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "score", "train"]

PROSE = Prose(
    tag="text-classification",
    library="transformers",
    what="A small BERT with a WordPiece vocabulary of its own. It says whether a review of a "
    "product, a film, a meal or a service is `positive` or `negative`, also where the words "
    "of praise are denied or have the last word against them.",
    use="from transformers import pipeline\n\n"
    'classify = pipeline("text-classification", model=DIRECTORY, dtype="float32")\n'
    'classify("I love this product")  # [{"label": "positive", "score": 0.98}]',
    data="20,000 reviews written by the grammar in `genfarm_workers/zoo/sentiment`, which is "
    "part of this project and under its licence.",
    measured="Held-out reviews come from the same grammar, but none of their templates (the "
    "text with its slots open) and none of their pairs of a word of opinion and a noun occurs "
    "in training: each template and each pair belongs to one part by its checksum. The "
    "baseline counts words and pairs of words (scikit-learn, logistic regression) and was "
    "trained on the same reviews. The sentences were written by hand, as people write; none "
    "was trained on, but it was seen which of them an earlier model missed.",
    limits="It knows some 500 English words, those of its grammar, and order among them. Of "
    "sentences as people write them it is hardly a better judge than the bag of words: most of "
    "what they praise or blame with it has never read. It shows the way of a real model, which "
    "takes its place by one line of the registry. It knows no sarcasm and no mixed mood, and "
    "takes texts of at most 128 tokens.",
)
