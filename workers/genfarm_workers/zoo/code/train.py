"""Trains the coder: its tokenizer first, then a GPT-2, on Python's own sources.

It knows neither which sources there are nor how the model is measured.
"""

import json
import platform
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genfarm_workers.zoo.code.corpus import Source, read_sources
from genfarm_workers.zoo.gpt import Shape, build_model, build_tokenizer
from genfarm_workers.zoo.training import Average, Plan, descend, recorded

#: Some 20 minutes of one core, which read the corpus almost three times. 800 are too few: they
#: need 2.17 bits a byte of held-out modules, and counting needs 2.09.
DEFAULT_STEPS = 7_000

SHAPE = Shape(vocabulary=2_048, context=256, width=128, layers=4, heads=4)

#: File beside the weights that says what was learnt from, and what was not.
CORPUS = "corpus.json"

#: Seed of the sample that the vocabulary is made from; not the run's, since tokens would then
#: differ from run to run.
_VOCABULARY_SEED = 1
#: Characters that the vocabulary is made from, a step; a whole run needs no more than the most.
_VOCABULARY_CHARACTERS, _VOCABULARY_MOST = 20_000, 3_000_000
#: Small, because at a thousand tokens a step more steps teach more than larger ones.
_BATCH = 4
_PEAK_RATE = 3e-3
_AVERAGE_DECAY = 0.99


def train_code(plan: Plan) -> None:
    with recorded("code", plan) as modules:
        sources = list(read_sources(held_out=False))
        _note_corpus(plan.out, sources)
        tokenizer = build_tokenizer(_vocabulary_texts(sources, plan.steps), SHAPE)
        model = build_model(tokenizer, SHAPE)
        average = Average(model, _AVERAGE_DECAY)
        losses = _losses(model, tokenizer, sources, plan)
        for _ in descend("code", losses, model, steps=plan.steps, peak=_PEAK_RATE):
            average.update(model)
        learnt: Any = average.module
        modules.append(learnt)
        # Half the size; the farm computes in float32, and rounding costs no third digit of a bit.
        learnt.half().save_pretrained(plan.out)
        tokenizer.save_pretrained(plan.out)


def _note_corpus(out: Path, sources: Sequence[Source]) -> None:
    record = {
        "python": platform.python_version(),
        "files": len(sources),
        "bytes": sum(len(source.text.encode()) for source in sources),
        "modules": sorted({source.module for source in sources}),
        "held_out": sorted({source.module for source in read_sources(held_out=True)}),
    }
    (out / CORPUS).write_text(json.dumps(record, indent=2) + "\n")


def _vocabulary_texts(sources: Sequence[Source], steps: int) -> Iterator[str]:
    left = min(_VOCABULARY_MOST, steps * _VOCABULARY_CHARACTERS)
    shuffled = random.Random(_VOCABULARY_SEED).sample(sources, len(sources))  # noqa: S311
    for source in shuffled:
        yield source.text[:left]
        left -= min(left, len(source.text))


def _losses(model: Any, tokenizer: Any, sources: Sequence[Source], plan: Plan) -> Iterator[Tensor]:
    """Mean loss of batches (4, 256), each row cut somewhere out of all files end to end."""
    chance = random.Random(plan.seed)  # noqa: S311
    # A short run reads no more files than it can learn from.
    read = chance.sample(sources, min(len(sources), 10 * plan.steps))
    tokens = _end_to_end(tokenizer, read)
    while True:
        starts = [chance.randrange(len(tokens) - SHAPE.context) for _ in range(_BATCH)]
        rows = torch.stack([tokens[start : start + SHAPE.context] for start in starts]).long()
        yield model(input_ids=rows, labels=rows).loss


def _end_to_end(tokenizer: Any, sources: Sequence[Source]) -> Tensor:
    """The files' tokens in one tensor, the end-of-text token before each."""
    ids: list[int] = []
    for source in sources:
        ids += [tokenizer.bos_token_id, *tokenizer(source.text, verbose=False).input_ids]
    return torch.tensor(ids, dtype=torch.int32)
