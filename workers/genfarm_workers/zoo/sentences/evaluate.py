"""Measures the model of meanings beside TF-IDF: does a sentence find the other one of its fact?

Twice: among held-out facts of our own grammar, and among sentences that people might write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genfarm_workers.zoo.sentences.grammar import held_out_pairs
from genfarm_workers.zoo.sentences.people import PAIRS
from genfarm_workers.zoo.sentences.train import embed

_HELD_OUT_FACTS = 500
_HELD_OUT_SEED = 2
_BATCH = 50


@dataclass(frozen=True, slots=True)
class SentencesMetrics:
    """How well a sentence finds its fellow among all second sentences; shares from 0 to 1."""

    #: Held-out facts, told twice each; who did what to whom occurs in no training sentence.
    facts: int
    #: Share of first sentences whose nearest second one is of the same fact.
    recall_at_1: float
    #: Mean of 1 / the rank of the right one.
    mean_reciprocal_rank: float
    #: The same of TF-IDF on pieces of two to four letters.
    baseline_recall_at_1: float
    #: The same of that.
    baseline_mean_reciprocal_rank: float
    #: Pairs of sentences written by hand, outside of the grammar.
    pairs: int
    #: Of the model, on those.
    pairs_recall_at_1: float
    #: Of the baseline, on those.
    pairs_baseline: float


def measure_sentences(directory: Path, count: int = _HELD_OUT_FACTS) -> SentencesMetrics:
    """On `count` held-out facts and on the pairs written by hand."""
    pairs = list(held_out_pairs(count, seed=_HELD_OUT_SEED))
    ranks, plain = _ranks(_similar(directory, pairs)), _ranks(_baseline(pairs))
    by_people, plain_by_people = _ranks(_similar(directory, PAIRS)), _ranks(_baseline(PAIRS))
    return SentencesMetrics(
        facts=count,
        recall_at_1=_recall(ranks),
        mean_reciprocal_rank=_reciprocal(ranks),
        baseline_recall_at_1=_recall(plain),
        baseline_mean_reciprocal_rank=_reciprocal(plain),
        pairs=len(PAIRS),
        pairs_recall_at_1=_recall(by_people),
        pairs_baseline=_recall(plain_by_people),
    )


@torch.inference_mode()
def embed_texts(directory: Path, texts: Sequence[str]) -> Tensor:
    """Unit vectors (N, D), by the stock classes."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(directory, dtype=torch.float32, add_pooling_layer=False)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    batches = [list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return torch.cat(
        [
            embed(model.eval(), tokenizer(batch, padding=True, return_tensors="pt"))
            for batch in batches
        ]
    )


def _similar(directory: Path, pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Similarity of each first sentence to each second one, (N, N)."""
    first, second = (embed_texts(directory, side) for side in zip(*pairs, strict=True))
    return first @ second.T


def _baseline(pairs: Sequence[tuple[str, str]]) -> Tensor:
    from sklearn.feature_extraction.text import TfidfVectorizer

    first, second = zip(*pairs, strict=True)
    # Better here than whole words (0.32) and pairs of them (0.23).
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit([*first, *second])
    return torch.tensor((pieces.transform(first) @ pieces.transform(second).T).toarray())


def _ranks(similar: Tensor) -> Tensor:
    """The place of the right one, from 1. One that is as near counts as nearer."""
    own = similar.diagonal()[:, None]
    return (similar >= own).sum(dim=1)


def _recall(ranks: Tensor) -> float:
    return float((ranks == 1).float().mean())


def _reciprocal(ranks: Tensor) -> float:
    return float((1 / ranks).mean())
