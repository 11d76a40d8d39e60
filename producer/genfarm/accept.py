"""What an output must be to be accepted: the gates, and what each says when it refuses.

It is given results and what a classifier said of them; it asks no farm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genfarm.result import Result
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import Kind
from genfarm_shared.likeness import Marks, Seen, marks_of_picture, marks_of_text
from genfarm_shared.naming import names_label
from genfarm_shared.sight import sample

#: Kinds whose outputs are texts; of the others a classifier is shown still pictures.
TEXTS = frozenset({"text-generation", "image-to-text"})
#: Why a gate that looks at outputs refuses a result that has none.
NOTHING_TO_SEE = "it has no text and no still picture to look at"
#: The most tries: each round is a job, and who needs more has a gate that nothing passes.
MOST_TRIES = 100


@dataclass(frozen=True, slots=True)
class Accept:
    """What outputs must pass; one that does not is generated again with another seed.

    A result that the farm's review did not pass is never accepted. Of a task
    with several outputs all must pass.
    """

    #: So many outputs are enough, of whichever inputs; fewer inputs are used again, with other
    #: seeds. None: one of every input.
    n: int | None = None
    #: Outputs of an input at most, the first among them.
    tries: int = 4
    #: The parameter that names the label that a classifier must see, `"prompt"` say, or a
    #: function that gives it for a result. With neither this nor `classifier` none is asked.
    label_from: str | Callable[[Result], str] | None = None
    #: Registry key of the classifier, which runs on the farm; None: the default of its kind.
    classifier: str | None = None
    #: The classifier's least confidence in its best label, 0 to 1.
    at_least: float = 0.5
    #: Refuse what is so like an accepted output, 0 to 1: 1 only what looks or reads the same,
    #: 0.9 copies with small changes. None: duplicates are welcome.
    distinct: float | None = None
    #: Any other gate: whether that result will do. To be the same each time for the same result.
    check: Callable[[Result], bool] | None = None

    def __post_init__(self) -> None:
        for name, is_right, expected in (
            ("n", self.n is None or self.n >= 1, "1 or more"),
            ("tries", 1 <= self.tries <= MOST_TRIES, f"1 to {MOST_TRIES}"),
            ("at_least", 0 <= self.at_least <= 1, "0 to 1"),
            ("distinct", self.distinct is None or 0 < self.distinct <= 1, "above 0, at most 1"),
        ):
            if not is_right:
                value = getattr(self, name)
                raise InvalidTask(f"accept: {name}={value!r}: expected {expected}", param="accept")

    @property
    def asks_classifier(self) -> bool:
        return self.label_from is not None or self.classifier is not None

    @property
    def _looks(self) -> bool:
        return self.asks_classifier or self.distinct is not None

    def check_kind(self, kind: Kind) -> None:
        """Raise InvalidTask for a gate that has nothing to go by in outputs of that kind."""
        if self._looks and not {"text", "image"} & sample(kind.name, {}).keys():
            raise InvalidTask(
                f"accept: a classifier and `distinct` look at texts and still pictures, and "
                f"{kind.name} makes neither; judge its outputs by `check`",
                param="accept",
            )
        known = kind.params.model_fields
        if isinstance(self.label_from, str) and self.label_from not in known:
            raise InvalidTask(
                f"accept: label_from={self.label_from!r} is not a parameter of {kind.name}; "
                f"expected one of {', '.join(known)}, or a function of the result",
                param="accept",
            )


@dataclass(frozen=True, slots=True)
class Sight:
    """The best label of one output."""

    label: str
    #: 0 to 1.
    score: float
    #: Why the classifier has no answer; None where it has one.
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which gate said no, and why."""

    #: `review`, `label`, `check` or `duplicate`.
    gate: str
    #: For people.
    reason: str


class Gates:
    """The gates of one acceptance; they remember what was accepted so far."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._seen = Seen[str](accept.distinct) if accept.distinct is not None else None

    def refuse(self, result: Result, review: str | None, labels: Sequence[Sight]) -> Refusal | None:
        """Why that result will not do; None where it is accepted, and remembered.

        `review` is the verdict of the farm's review, where there was one, and
        `labels` what the classifier saw in each output, where one was asked.
        """
        if review not in (None, "pass"):
            return Refusal("review", f"its verdict is {review}")
        if self._accept.asks_classifier and not labels:
            return Refusal("label", NOTHING_TO_SEE)
        for seen in labels:
            refusal = self._mislabelled(result, seen)
            if refusal is not None:
                return refusal
        if self._accept.check is not None and not self._accept.check(result):
            return Refusal("check", "the check says no")
        return self._repeated(result)

    def _mislabelled(self, result: Result, seen: Sight) -> Refusal | None:
        if seen.fault is not None:
            return Refusal("label", f"the classifier failed: {seen.fault}")
        said = f"the classifier sees {seen.label!r} ({seen.score:.2f})"
        wanted = self._accept.label_from
        if wanted is not None:
            text = wanted(result) if callable(wanted) else result.params[wanted]
            if not names_label(str(text), seen.label):
                return Refusal("label", said)
        if seen.score < self._accept.at_least:
            return Refusal("label", f"{said}, below {self._accept.at_least:g}")
        return None

    def _repeated(self, result: Result) -> Refusal | None:
        if self._seen is None:
            return None
        fresh = _marks_of(result)
        if not fresh:
            return Refusal("duplicate", NOTHING_TO_SEE)
        for marks in fresh:
            found = self._seen.find(marks)
            if found is not None:
                return Refusal("duplicate", f"{found[1]:.0%} like that of {found[0]}")
        for marks in fresh:
            self._seen.add(result.custom_id, marks)
        return None


def _marks_of(result: Result) -> list[Marks]:
    pictures = [marks_of_picture(image) for image in result.images]
    return pictures or [marks_of_text(text) for text in result.texts]
