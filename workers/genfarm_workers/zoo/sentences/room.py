"""The room of the model of meanings, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.sentences.evaluate import measure_sentences as measure
from genfarm_workers.zoo.sentences.train import DEFAULT_STEPS
from genfarm_workers.zoo.sentences.train import train_sentences as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="feature-extraction",
    library="sentence-transformers",
    what="A small BERT whose vectors of 96 numbers lie close for sentences that say the same: "
    "who did what to whom, with what, where and when. The mean of the tokens, scaled to "
    "length 1, as the folder says in the way of sentence-transformers.",
    use="import genfarm as gf\n\n"
    "texts = [\n"
    '    "The doctor sold a boat to the thief.",\n'
    '    "The robber bought a vessel from the physician.",\n'
    "]\n"
    "with gf.Farm.local() as farm:\n"
    '    a, b = (result.output["embedding"] for result in farm.map("embed", texts))\n'
    "    print(sum(x * y for x, y in zip(a, b)))",
    data="Sentences written by the grammar in `genfarm_workers/zoo/sentences`, which is part of "
    "this project and under its licence; each batch is new.",
    measured="Held-out facts come from the same grammar, but who did what to whom occurs in no "
    "training sentence: each such triple belongs to one part by its checksum. A first "
    "sentence of each fact looks for the second among those of all facts, many of which differ "
    "only in who did it to whom. The baseline is scikit-learn's TF-IDF on pieces of words. The "
    "pairs were written by hand, as people write, and were used for nothing else.",
    limits="It knows some 380 English words and 19 deeds. The pairs written by hand use many of "
    "those words; of sentences about other things it knows next to nothing. It takes texts of "
    "at most 128 tokens.",
)
