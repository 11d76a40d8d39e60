"""Judges generated texts: by a language model, by their words, against each other."""

import random
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean
from typing import Any

from genfarm_shared.errors import InvalidTask
from genfarm_shared.figures import Figure
from genfarm_shared.likeness import Marks, likeness, marks_of_text
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.judging.figures import Judgement, Sample
from genfarm_workers.judging.perplexity import Perplexity, perplexity
from genfarm_workers.judging.reference import read_lines
from genfarm_workers.judging.twins import count_twins, find_twins
from genfarm_workers.judging.wording import distinct, mean_length, words_of

#: Pairs that the self-similarity is taken over: of 100 texts, all.
PAIRS = 5000
_WORD = re.compile(r"\S+")


def judge_texts(
    samples: Sequence[Sample], against: str | None, entry: ModelEntry | None
) -> Judgement:
    """`entry` is the model that says how surprising they are. Raises InvalidTask,
    ModelUnavailable."""
    texts = [sample.text or "" for sample in samples]
    real = read_lines(against) if against is not None else None
    remarks = [] if real is None else [f"held against {len(real)} texts of {against}"]
    figures: list[Figure] = []
    if entry is not None:
        pairs = [(sample.prompt, sample.text or "") for sample in samples]
        figures.append(_surprise(entry, pairs, real, remarks))
    figures += _wording(texts, real)
    marks = [marks_of_text(text) for text in texts]
    known = None if real is None else self_similarity([marks_of_text(text) for text in real])
    note = f"mean likeness of two texts, of {min(PAIRS, len(texts) * (len(texts) - 1) // 2)} pairs"
    figures.append(
        Figure("self-similarity", self_similarity(marks), known, len(texts), note, "less")
    )
    names = [sample.name for sample in samples]
    twins = find_twins(names, [text.encode() for text in texts], marks)
    figures += count_twins(twins, len(texts))
    return Judgement("texts", len(texts), figures, twins, {}, remarks)


def self_similarity(marks: Sequence[Marks]) -> float:
    """Mean likeness of two different texts, of all pairs or of a fixed choice of them; 0 of one."""
    n = len(marks)
    if n < 2:
        return 0.0
    if n * (n - 1) // 2 <= PAIRS:
        pairs = [(a, b) for a in range(n) for b in range(a)]
    else:
        chosen = random.Random(0)  # noqa: S311  # a sample, not a secret
        pairs = [(a, b) for a, b in (chosen.sample(range(n), 2) for _ in range(PAIRS))]
    return mean(likeness(marks[a], marks[b]) for a, b in pairs)


def begin_alike(prompts: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Each text cut behind as many words as a prompt has, the prompts taken in turn.

    What comes first in a text surprises most: a text that is judged without a beginning cannot
    be compared with one that continues a prompt. At least its last word is left to be judged.
    """
    halves = []
    for text, prompt in zip(texts, cycle(prompts or [""]), strict=False):
        ends = [0, *(word.end() for word in _WORD.finditer(text))]
        cut = ends[min(len(prompt.split()), max(0, len(ends) - 2))]
        halves.append((text[:cut], text[cut:]))
    return halves


def find_judge(catalog: Mapping[str, ModelEntry], key: str) -> ModelEntry:
    """The registry's language model of that key. Raises InvalidTask."""
    entry = catalog.get(key)
    if entry is None or entry.kind != "text-generation":
        known = ", ".join(e.key for e in catalog.values() if e.kind == "text-generation")
        raise InvalidTask(
            f"--model {key}: no text-generation model of the registry here; there are {known}"
        )
    return entry


def _wording(texts: Sequence[str], real: Sequence[str] | None) -> list[Figure]:
    ours = [words_of(text) for text in texts]
    theirs = None if real is None else [words_of(text) for text in real]
    figures = []
    for n in (1, 2, 3):
        value, count = distinct(ours, n)
        known = None if theirs is None else distinct(theirs, n)[0]
        note = f"share of the {count} runs of {n} words that differ; falls as texts grow more"
        figures.append(Figure(f"distinct-{n}", value, known, len(texts), note, "more"))
    lengths = [len(words) for words in ours]
    note = f"words a text, from {min(lengths)} to {max(lengths)}"
    known = None if theirs is None else mean_length(theirs)
    return [*figures, Figure("length", mean_length(ours), known, len(texts), note)]


def _surprise(
    entry: ModelEntry,
    pairs: Sequence[tuple[str, str]],
    real: Sequence[str] | None,
    remarks: list[str],
) -> Figure:
    model, tokenizer, context = _load(entry)
    found = perplexity(model, tokenizer, pairs, context)
    known = None
    if real is not None:
        halves = begin_alike([prompt for prompt, _ in pairs], real)
        known = perplexity(model, tokenizer, halves, context).value
    _tell_cut(found, context, remarks)
    note = (
        f"exp of the mean cross-entropy of {found.tokens} tokens by {entry.key}, each text after "
        "its prompt, a real one after as many words of its own; low for a model's own texts, and "
        "for dull ones"
    )
    return Figure("perplexity", found.value, known, len(pairs), note)


def _tell_cut(found: Perplexity, context: int, remarks: list[str]) -> None:
    if found.cut:
        remarks.append(
            f"perplexity: {found.cut} texts are longer than the model's {context} tokens, and "
            "judged by those"
        )


def _load(entry: ModelEntry) -> tuple[Any, Any, int]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from genfarm_workers.engines.weights import find_weights, quiet_libraries

    quiet_libraries()
    folder = find_weights(entry)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, dtype="float32", **options
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    limit = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    return model.eval(), tokenizer, int(limit)
