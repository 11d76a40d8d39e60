"""Outputs generated until they pass the gates: rounds of jobs, judged one after the other.

Knows no gate and no name of a round: `accept.py` and `rounds.py` do.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genfarm.accept import Accept, Gates, Refusal, Sight
from genfarm.drawing import Drawing
from genfarm.following import Ordered, follow
from genfarm.job import NO_END, Job
from genfarm.link import Link
from genfarm.progress import Bar
from genfarm.result import Errors, Result, check_errors, make_result, sift
from genfarm.rounds import Rounds, Slot
from genfarm_shared.errors import ItemFailed
from genfarm_shared.tasks import JobRecord, TaskRecord

#: Of all reasons why a task has no result, the one that another seed may mend.
FILTERED = "content_filtered"


@dataclass(frozen=True, slots=True)
class Trial:
    """One output and what the gates said of it."""

    custom_id: str
    #: From 1.
    round: int
    seed: int
    #: None: it was accepted, or its task failed for a reason of its own.
    refusal: Refusal | None


class Acceptance:
    """Inputs and those of their outputs that passed; made by `Farm.submit_many(accept=...)`.

    The first round runs at once, the next ones while somebody waits for
    results. Each is an ordinary job, `<name>~2` and so on: the same call
    finds them again, goes on with what is missing, and accepts the same
    outputs. What it accepts of is held in memory. For one thread.
    """

    def __init__(
        self, link: Link, rounds: Rounds, accept: Accept, *, progress: bool | None = None
    ) -> None:
        self._link, self._rounds, self._accept = link, rounds, accept
        self._progress = progress
        self._gates = Gates(accept)
        self._wanted = accept.n or len(rounds.slots)
        self._accepted: dict[int, Result] = {}
        #: The last result of each input that has nothing accepted.
        self._last: dict[int, Result] = {}
        #: Inputs whose task failed for a reason that another seed does not mend.
        self._stuck: set[int] = set()
        self._records: list[JobRecord] = []
        #: Jobs of the classifier, by round.
        self._classified: dict[int, JobRecord] = {}
        #: Rounds that were judged.
        self._judged = 0
        #: Every output judged so far, in the order of judging.
        self.trials: list[Trial] = []
        #: How many were accepted after 1, 2, 3, ... outputs.
        self.curve: list[int] = []
        self._begin()

    @property
    def jobs(self) -> list[Job]:
        """The rounds so far."""
        return [Job(self._link, record, progress=self._progress) for record in self._records]

    @property
    def is_done(self) -> bool:
        """Whether no further round would be run."""
        return self._judged == len(self._records) and not self._missing()

    def wait(self, timeout: float | None = None) -> "Acceptance":
        """Run rounds until enough is accepted or every try is spent.

        Raises ItemTimeout after `timeout` seconds; called again it goes on. An output
        whose classification failed is refused by the gate `label`.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        with Bar(f"accept {self._called}", self._wanted, show=self._progress) as bar:
            while not self.is_done:
                self._begin()
                self._judge_round(bar, give_up)
        return self

    def results(
        self, *, errors: Errors = "return", timeout: float | None = None
    ) -> Iterator[Result]:
        """What was accepted, in the order of the inputs, once all rounds are over.

        An input that ran out of tries comes with an error whose code is
        `not_accepted` and which says which gate refused how often; with
        `Accept(n=...)` only where fewer than n were accepted.
        """
        check_errors(errors)
        self.wait(timeout)
        is_enough = len(self._accepted) >= self._wanted
        for slot in self._rounds.slots:
            if slot.index in self._accepted:
                yield self._accepted[slot.index]
            elif not is_enough:
                yield from sift(self._failed(slot), errors)

    def __iter__(self) -> Iterator[Result]:
        """As `results`; raises at the first input without an accepted output."""
        return self.results(errors="raise")

    def show(self) -> Drawing:
        """The acceptance curve so far: accepted over generated, round by round."""
        from genfarm.acceptance_chart import draw_curve

        ends = [trial.round for trial in self.trials]
        return draw_curve(self._called, self.curve, ends, self._wanted)

    def __repr__(self) -> str:
        refused = Counter(trial.refusal.gate for trial in self.trials if trial.refusal)
        said = ", ".join(f"{gate} {number}" for gate, number in refused.most_common())
        rounds = f"{len(self._records)} round{'s' * (len(self._records) > 1)}"
        return (
            f"Acceptance {self._called}  {len(self._accepted)} of {self._wanted} accepted, "
            f"{len(self.curve)} outputs in {rounds}" + (f" · refused by {said}" if said else "")
        )

    @property
    def _called(self) -> str:
        return self._records[0].name or self._records[0].id

    def _missing(self) -> list[Slot]:
        """The inputs of the next round; none when there is to be none."""
        if len(self._accepted) >= self._wanted or len(self._records) >= self._accept.tries:
            return []
        return [
            slot
            for slot in self._rounds.slots
            if slot.index not in self._accepted and slot.index not in self._stuck
        ]

    def _begin(self) -> None:
        """Submit the next round, unless one is in hand."""
        if self._judged == len(self._records):
            first = self._records[0] if self._records else None
            number = len(self._records) + 1
            self._records.append(self._rounds.submit(number, self._missing(), first))

    def _judge_round(self, bar: Bar, give_up: float | None) -> None:
        job, number = self._records[-1], len(self._records)
        slots = {slot.custom_id: slot for slot in self._rounds.slots}
        records = []
        for record in self._ended(job, give_up):
            records.append(record)
            note = f"round {number}: {len(records)} of {job.total}"
            bar.move_to(len(self._accepted), note=note)
        made = [make_result(record, self._link.artifacts) for record in records]
        results = [replace(r, index=slots[r.custom_id].index) for r in made]
        labels = self._labels(number, [r for r in results if r.ok], give_up)
        # Past the last wait: from here on the round is judged as a whole.
        self._judged = number
        for record, result in zip(records, results, strict=True):
            if len(self._accepted) < self._wanted:
                self._judge(number, record, result, labels)
        bar.move_to(len(self._accepted))

    def _judge(
        self, number: int, record: TaskRecord, result: Result, labels: Mapping[str, Sequence[Sight]]
    ) -> None:
        refusal: Refusal | None = None
        if result.error is None:
            review = (record.metrics.get("review") or {}).get("verdict")
            refusal = self._gates.refuse(result, review, labels.get(result.custom_id, ()))
        elif result.error.code == FILTERED:
            refusal = Refusal("review", "it was filtered")
        else:
            self._stuck.add(result.index)
        if result.error is None and refusal is None:
            self._accepted[result.index] = result
        else:
            self._last[result.index] = result
        self.trials.append(Trial(result.custom_id, number, result.seed, refusal))
        self.curve.append(len(self._accepted))

    def _labels(
        self, number: int, results: Sequence[Result], give_up: float | None
    ) -> Mapping[str, Sequence[Sight]]:
        if not self._accept.asks_classifier or not results:
            return {}
        job = self._classified.get(number)
        if job is None:
            job = self._rounds.classify(number, results, self._records[0])
            if job is None:
                return self._rounds.match(results, [])
            self._classified[number] = job
        said = [make_result(r, self._link.artifacts) for r in self._ended(job, give_up)]
        return self._rounds.match(results, said)

    def _ended(self, job: JobRecord, give_up: float | None) -> Iterator[TaskRecord]:
        """Every task of that job in order, as it ends."""
        left = None if give_up is None else max(give_up - time.monotonic(), 0.0)
        reader = Ordered(self._link.store, job.id)
        return follow(self._link.store, job, reader, range(NO_END), left)

    def _failed(self, slot: Slot) -> Result:
        """The last result of an input that ran out of tries, with the error that says so."""
        last = self._last[slot.index]
        if slot.index in self._stuck:
            return last
        said = [t.refusal for t in self.trials if t.custom_id == slot.custom_id and t.refusal]
        counts = Counter(refusal.gate for refusal in said)
        gates = ", ".join(f"{gate} {number}x" for gate, number in counts.most_common())
        error = ItemFailed(
            f"none of {len(said)} outputs of input {slot.custom_id} of {self._called} was "
            f"accepted; refused by {gates}, the last because {said[-1].reason}. Allow more "
            "tries, or loosen the gate",
            code="not_accepted",
            custom_id=slot.custom_id,
            attempts=len(said),
        )
        return replace(last, error=error)
