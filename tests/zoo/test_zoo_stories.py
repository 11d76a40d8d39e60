"""The story teller and the grammar that wrote its corpus."""

from typing import Any

import pytest
import torch

from genfarm_workers import zoo
from genfarm_workers.zoo.stories.evaluate import measure_stories
from genfarm_workers.zoo.stories.grammar import is_held_out, split_sentences, write_stories


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(zoo.path("stories")).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(zoo.path("stories"))


def test_no_held_out_sentence_occurs_in_training_stories() -> None:
    training, held_out = (
        {
            sentence
            for story in write_stories(500, seed=1, held_out=part)
            for sentence in split_sentences(story)
        }
        for part in (False, True)
    )
    assert not training & held_out
    assert all(is_held_out(sentence) for sentence in held_out)


def test_the_same_seed_writes_the_same_stories() -> None:
    first, second = (list(write_stories(5, seed=3, held_out=False)) for _ in range(2))
    assert first == second


def test_the_model_predicts_unseen_sentences_better_than_xz() -> None:
    metrics = measure_stories(zoo.path("stories"), count=20)
    assert metrics.bits_per_byte < metrics.xz_bits_per_byte


def test_the_tokenizer_restores_any_text(tokenizer: Any) -> None:
    text = 'A story.\n\tWith "quotes", naïve words and 漢字 🙂'
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.eos_token_id != tokenizer.pad_token_id


@pytest.mark.parametrize("prompt", ["Once upon a time", "The old captain", "One rainy morning"])
def test_a_story_ends_by_itself(model: Any, tokenizer: Any, prompt: str) -> None:
    torch.manual_seed(0)
    written = model.generate(**tokenizer(prompt, return_tensors="pt"))[0]
    assert written[-1].item() == tokenizer.eos_token_id
    story = tokenizer.decode(written, skip_special_tokens=True)
    assert story.startswith(prompt)
    assert story.endswith(".")
