"""The model of meanings and the grammar that says its facts."""

import random

import pytest
import torch

from genfarm_workers import zoo
from genfarm_workers.zoo.sentences.evaluate import embed_texts, measure_sentences
from genfarm_workers.zoo.sentences.grammar import draw_facts, held_out_pairs

FOLDER = zoo.path("sentences")


def test_who_did_what_to_whom_is_never_both_in_training_and_held_out() -> None:
    chance = random.Random(1)
    training, held_out = (
        {(fact.deed, fact.doer, fact.other) for fact in draw_facts(2_000, chance, held_out=part)}
        for part in (False, True)
    )
    assert held_out
    assert not training & held_out


def test_a_fact_is_told_in_two_ways_and_the_same_seed_tells_the_same() -> None:
    pairs = list(held_out_pairs(50, seed=4))
    assert pairs == list(held_out_pairs(50, seed=4))
    assert all(first != second for first, second in pairs)


def test_many_facts_stand_beside_the_one_with_the_people_turned() -> None:
    facts = set(draw_facts(100, random.Random(2), held_out=False))
    assert sum(fact.turned() in facts for fact in facts) > 50
    assert all(fact.turned().turned() == fact for fact in facts)


def test_unseen_facts_are_found_better_than_by_tf_idf() -> None:
    metrics = measure_sentences(FOLDER, count=100)
    assert metrics.recall_at_1 > metrics.baseline_recall_at_1 + 0.1
    assert metrics.mean_reciprocal_rank > metrics.baseline_mean_reciprocal_rank


def test_who_did_it_counts_for_more_than_the_words() -> None:
    sold, bought, turned = embed_texts(
        FOLDER,
        [
            "The doctor sold a boat to the thief.",
            "The robber bought a vessel from the physician.",
            "The thief sold a boat to the doctor.",
        ],
    )
    assert torch.dot(sold, bought) > torch.dot(sold, turned)
    assert torch.linalg.norm(sold).item() == pytest.approx(1.0)
