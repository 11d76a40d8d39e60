"""The rounds of an acceptance as jobs: what each asks, under which name and with which seeds.

Every round is an ordinary job and follows from the call alone, so that the same
call finds it again. Judges nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from genfarm.accept import TEXTS, Accept, Sight
from genfarm.drafting import default_id
from genfarm.label import Label, Request
from genfarm.link import Link
from genfarm.models import choose_model, list_models
from genfarm.request import Options, prepare
from genfarm.result import Result
from genfarm.submission import write
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import find_kind
from genfarm_shared.seeds import derive_seed
from genfarm_shared.tasks import JobRecord

#: What there is to see in an empty text, which no classifier takes.
NOTHING = Sight("", 0.0)


@dataclass(frozen=True, slots=True)
class Slot:
    """An input that is to have an accepted output."""

    #: Place among the inputs, those used again behind the others.
    index: int
    custom_id: str
    #: What the input itself sets, without seed.
    values: Mapping[str, Any]
    #: Of its first try.
    seed: int


class Rounds:
    """Submits rounds of generation, and of classification, for one call."""

    def __init__(
        self, link: Link, kind: str, inputs: object, options: Options, accept: Accept
    ) -> None:
        self._link, self._accept = link, accept
        accept.check_kind(find_kind(kind))
        request = prepare(link, kind, inputs, options)
        self._kind, self._label = request.order.kind.name, request.label
        self.slots = _slots(request, accept.n)
        self._options: Options = options | Options(
            id_from=None, model=request.order.model, deadline=_until(request.label)
        )
        self._judging = "text-classification" if self._kind in TEXTS else "image-classification"
        if accept.asks_classifier:  # before the first task, not after a round of them
            models = list_models(link.store.list_workers(everyone=True))
            choose_model(find_kind(self._judging), accept.classifier, models)
        self._check_name()

    def submit(self, number: int, slots: Sequence[Slot], first: JobRecord | None) -> JobRecord:
        """The job of that round, from 1, for the slots that have nothing accepted yet."""
        inputs = [
            {**slot.values, "seed": reseed(slot.seed, number), "custom_id": slot.custom_id}
            for slot in slots
        ]
        options = self._options if first is None else self._later(first, f"~{number}")
        return write(self._link, prepare(self._link, self._kind, inputs, options))

    def classify(
        self, number: int, results: Sequence[Result], first: JobRecord
    ) -> JobRecord | None:
        """The job that says what the outputs of those results show, one task for each output.

        None where they show nothing.
        """
        inputs: list[dict[str, Any]] = [
            {"image": output} if is_picture else {"text": output}
            for result in results
            for is_picture, output in _outputs(result)
            if output
        ]
        if not inputs:
            return None
        options = self._later(first, f"~{number}.labels")
        options |= Options(model=self._accept.classifier, params={"top_k": 1})
        return write(self._link, prepare(self._link, self._judging, inputs, options))

    def match(
        self, results: Sequence[Result], said: Sequence[Result]
    ) -> Mapping[str, Sequence[Sight]]:
        """What the classifier saw in each result's outputs, by custom_id."""
        answers = iter(said)
        return {
            result.custom_id: [
                _sight(next(answers)) if output else NOTHING for _, output in _outputs(result)
            ]
            for result in results
        }

    def _later(self, first: JobRecord, suffix: str) -> Options:
        """Options of a job that follows the first. One without a name is known by its content."""
        return self._options | Options(
            name=self._label.name and f"{self._label.name}{suffix}",
            metadata={**self._label.metadata, "accept": first.id, "round": suffix[1:]},
            # It would be an error only where an earlier client came so far and died.
            on_conflict="new" if self._label.on_conflict == "new" else "resume",
            when_full=self._label.when_full or "wait",
        )

    def _check_name(self) -> None:
        if self._label.name is not None:
            replace(self._label, name=f"{self._label.name}~{self._accept.tries}.labels").check()


def reseed(seed: int, number: int) -> int:
    """The seed of an input's try in that round; in the first, its own."""
    return seed if number == 1 else derive_seed(seed, number)


def _slots(request: Request, n: int | None) -> list[Slot]:
    given = list(request.source.read())
    if not given:
        raise InvalidTask("accept: there is no input to generate from", param="inputs")
    slots = []
    for index in range(max(len(given), n or 0)):
        again, place = divmod(index, len(given))
        values = dict(given[place].values)
        own = values.pop("seed", None)
        seed = request.order.base_seed + index if own is None else own
        custom_id = given[place].custom_id or default_id(index)
        if again and own is not None:
            seed = reseed(own, -again)
        if again and given[place].custom_id is not None:
            custom_id += f"~{again + 1}"
        slots.append(Slot(index, custom_id, values, seed))
    return slots


def _until(label: Label) -> datetime | None:
    """One deadline for all rounds, counted from the call."""
    return None if label.deadline is None else datetime.fromtimestamp(label.deadline, UTC)


def _outputs(result: Result) -> list[tuple[bool, str]]:
    """What a classifier is shown of a result: artefacts of pictures by name, else texts."""
    pictures = [(True, artifact.name) for artifact in result.artifacts_of("picture")]
    return pictures or [(False, text) for text in result.texts]


def _sight(answer: Result) -> Sight:
    if answer.error is not None:
        return replace(NOTHING, fault=str(answer.error))
    best = answer.output["labels"][0]
    return Sight(str(best["label"]), float(best["score"]))
