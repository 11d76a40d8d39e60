"""The classifier as a gate, in the engine process, which has torch and the device.

Texts are judged one by one: a score near the threshold may not depend on who else was asked. One
that is longer than its classifier takes is judged in windows, and the worst counts.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine, Output
from genfarm_workers.engines.registry import Tick
from genfarm_workers.review.gates import texts_asked, texts_of
from genfarm_workers.review.rules import Blocked, ClassifierRules, ReviewRules

logger = logging.getLogger(__name__)

#: Tokens that a classifier takes whose configuration does not say; BERT's own.
_USUAL = 512

Builder = Callable[[ModelEntry, Tick], Engine]


@dataclass(frozen=True, slots=True)
class Judge:
    """A classifier."""

    labels: Sequence[str]
    #: The score of each label of a text.
    score: Callable[[str], Mapping[str, float]]


class Censor:
    """The classifiers of the registry's models. One thread."""

    def __init__(self, catalog: Mapping[str, ModelEntry], device: str = "cpu") -> None:
        self._rules: dict[str, tuple[ReviewRules, ClassifierRules]] = {
            key: (entry.review, entry.review.classifier)
            for key, entry in catalog.items()
            if entry.review is not None and entry.review.classifier is not None
        }
        self._device = device
        self._judges: dict[str, Judge] = {}

    def is_asked(self) -> bool:
        """Whether any model's texts are judged."""
        return bool(self._rules)

    def beside(self, build_engine: Builder) -> Builder:
        """Builds engines with their classifiers: a model whose gate cannot be loaded is not."""

        def build(entry: ModelEntry, tick: Tick) -> Engine:
            if entry.key in self._rules:
                self._load(entry.key)
            return build_engine(entry, tick)

        return build

    def refuse(self, claim: Claim) -> Failure | None:
        """Why a prompt does not go into its model, which is loaded."""
        if claim.model not in self._rules or not self._rules[claim.model][0].prompts:
            return None
        return self._refusal(claim.model, partial(texts_asked, claim.params), "prompt")

    def judge(self, model: str, outputs: Sequence[Output]) -> Sequence[Output]:
        """The outputs of a model, with failures in the place of those that are refused."""
        if model not in self._rules or not self._rules[model][0].outputs:
            return outputs
        judged = []
        for output in outputs:
            failure = self._refusal(model, partial(texts_of, output), "output")
            judged.append(Output(output.task_id, failure=failure) if failure else output)
        return judged

    def _refusal(
        self, model: str, texts: Callable[[], Iterable[str]], where: str
    ) -> Failure | None:
        _, rules = self._rules[model]
        try:
            for text in texts():
                scores = self._judges[rules.source].score(text)
                for label in rules.labels:
                    if scores[label] >= rules.threshold:
                        return Blocked("classifier", label).failure(where)
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            # Without its message, which may quote the text.
            said = f"the review's classifier failed with {type(error).__name__}"
            logger.error("%s: model %s", said, model)
            said = f"{said}, so the {where} was not passed. See whether it takes such texts"
            return Failure("internal", said, retryable=True)
        return None

    def _load(self, model: str) -> None:
        """Raises ModelUnavailable."""
        _, rules = self._rules[model]
        if rules.source not in self._judges:
            self._judges[rules.source] = load_judge(rules.source, model, self._device)
        known = self._judges[rules.source].labels
        unknown = [label for label in rules.labels if label not in known]
        if unknown:
            raise ModelUnavailable(
                f"model {model!r}: its review refuses the label {unknown[0]!r}, and the classifier "
                f"{rules.source} has {', '.join(sorted(known))}. Correct models.toml"
            )


def load_judge(source: str, model: str, device: str) -> Judge:
    """A classifier of the BERT family. Raises ModelUnavailable."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from genfarm_workers.engines.weights import find_weights, quiet_libraries

    quiet_libraries()
    asked = {"key": model, "kind": "text-classification", "engine": "", "source": source}
    folder = find_weights(ModelEntry.model_validate(asked))
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        network = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"model {model!r}: its review's classifier {folder} is not one that transformers can "
            f"load ({type(error).__name__}: {error}). Correct source in models.toml"
        ) from error
    network = network.to(device).eval()
    longest = _longest(tokenizer, network.config)
    labels = [network.config.id2label[place] for place in range(network.config.num_labels)]

    def score(text: str) -> Mapping[str, float]:
        worst = dict.fromkeys(labels, 0.0)
        for window in _windows(tokenizer, text, longest):
            tokens = torch.tensor([window], device=device)
            with torch.inference_mode():
                scores = network(input_ids=tokens).logits[0].float().softmax(-1).tolist()
            worst = {label: max(worst[label], s) for label, s in zip(labels, scores, strict=True)}
        return worst

    return Judge(labels, score)


def _longest(tokenizer: Any, config: Any) -> int:
    """Tokens that a classifier takes at once; what RoBERTa keeps free for its padding is not."""
    places = getattr(config, "max_position_embeddings", None) or _USUAL
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return int(min(places - offset, tokenizer.model_max_length))


def _windows(tokenizer: Any, text: str, longest: int) -> Iterator[list[int]]:
    """The tokens of a text, cut to what a classifier takes; none where nothing was said.

    Half of each window stands in the next, so a phrase of that length is whole in one of them.
    Raises ValueError where a tokenizer written in Python would leave the end of a text out.
    """
    room = longest - tokenizer.num_special_tokens_to_add()
    cut = {"truncation": True, "max_length": longest, "stride": room // 2}
    found = tokenizer(text, return_overflowing_tokens=True, **cut)
    if found.get("overflowing_tokens"):
        raise ValueError(f"the text has more than {longest} tokens")
    windows = found["input_ids"]
    return (window for window in (windows if tokenizer.is_fast else [windows]) if window)
