"""Records how tasks ended: artefacts first, then one commit for all of them.

A crash between the two leaves a file that nothing names, never a row without
its file. Knows no engine and no queue.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.chains import is_stage
from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import Artifact, Claim, Failure, Outcome
from genfarm_workers.encoding import encode
from genfarm_workers.engines import Output
from genfarm_workers.patience import insist
from genfarm_workers.provenance import Prover
from genfarm_workers.review.gates import Gates

log = logging.getLogger(__name__)

#: Outcomes that one commit takes at most; more only lengthens the write lock, some 30 ms.
COMMIT_MOST = 512


@dataclass(frozen=True, slots=True)
class Ended:
    """A claim and what the engine made of it."""

    claim: Claim
    output: Output


@dataclass(frozen=True, slots=True)
class Aides:
    """Who has a say in what is recorded."""

    #: Has files and results say how they were made.
    prover: Prover | None = None
    #: Review prompts and outputs.
    gates: Gates = field(default_factory=lambda: Gates({}))
    #: Hears of recorded tasks of chains, whose next stage may begin.
    onward: Callable[[Sequence[str]], object] | None = None


class Recorder:
    """Turns outputs into rows. `record` may be called from one thread at a time."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        worker_id: str,
        max_attempts: int,
        aides: Aides | None = None,
    ) -> None:
        self._store = store
        self.artifacts = artifacts
        self._worker_id = worker_id
        self._max_attempts = max_attempts
        aides = aides or Aides()
        self._prover, self.gates, self._onward = aides.prover, aides.gates, aides.onward
        # PIL lets go of the GIL while it packs; two threads keep up with one device.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="encode")

    def review(self, ended: Sequence[Ended]) -> Sequence[Ended]:
        """The same, with failures in the place of outputs that a gate refuses."""
        if not self.gates.are_any():
            return ended
        return [Ended(one.claim, self.gates.judge(one.claim, one.output)) for one in ended]

    def record(self, ended: Sequence[Ended]) -> Committed:
        """Write artefacts and outcomes. Raises Unreachable; calling again is then safe."""
        outcome = partial(self._outcome, is_sound=_are_sound([one.output for one in ended]))
        # Handing a task to a thread costs more than all else that is done for one without files.
        each = self._pool.map if any(one.output.files for one in ended) else map
        outcomes = list(each(outcome, ended))
        committed = self._store.commit(outcomes, self._worker_id, max_attempts=self._max_attempts)
        if self._onward is not None:
            links = [o.task_id for o in outcomes if is_stage(o.task_id)]
            if links:
                self._onward(links)
        return committed

    def close(self) -> None:
        self._pool.shutdown()

    def _outcome(self, ended: Ended, *, is_sound: bool) -> Outcome:
        """What to commit; `is_sound` spares the look at an output that is known to be a row."""
        claim, output = ended.claim, ended.output
        failure = output.failure
        if failure is None:
            failure = None if is_sound else _fault(output)
        else:
            said = failure.message.replace("\x00", "?").encode(errors="replace")
            failure = replace(failure, message=said.decode())
        if failure is not None:
            return Outcome(claim.task_id, claim.attempt, failure=failure, metrics=output.metrics)
        files = tuple(self._keep(ended, place) for place in range(len(output.files)))
        metrics = self._prover.vouch(claim, output, files) if self._prover else output.metrics
        return Outcome(claim.task_id, claim.attempt, output.output, files, metrics=metrics)

    def _keep(self, ended: Ended, place: int) -> Artifact:
        data, media_type = encode(ended.output.files[place])
        if self._prover is not None:
            data = self._prover.embed(data, media_type, ended.claim, ended.output, place)
        return self.artifacts.put(data, media_type)


def _are_sound(outputs: Sequence[Output]) -> bool:
    """Whether each is a failure or can be a row, as far as one look at all of them tells."""
    found = [output.output for output in outputs if output.failure is None]
    try:
        text = json.dumps(found, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        return False
    return None not in found and "\\u0000" not in text


def _fault(output: Output) -> Failure | None:
    """Why an output cannot be a row. PostgreSQL would refuse the whole batch for it."""
    if output.output is None:
        return Failure("internal", "the engine returned neither an output nor a failure")
    try:
        json.dumps(output.output, allow_nan=False)
        "".join(_texts(output.output)).encode()
    except UnicodeEncodeError:
        return Failure("internal", "its output holds half a surrogate pair")
    except (TypeError, ValueError) as error:
        return Failure("internal", f"its output is no JSON: {error}")
    if any("\x00" in text for text in _texts(output.output)):
        return Failure("internal", "its output holds a NUL character")
    return None


def _texts(value: object) -> Iterator[str]:
    """Every text in a value that is JSON, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


class RecorderThread(threading.Thread):
    """Records what is handed to it, many at once, and waits out a store that is down."""

    def __init__(
        self, recorder: Recorder, after: Callable[[Sequence[Ended], Committed], None]
    ) -> None:
        """`after` is told what became of each batch, on this thread."""
        super().__init__(name="recorder", daemon=True)
        self._recorder = recorder
        self._after = after
        self._ended: queue.SimpleQueue[Sequence[Ended] | None] = queue.SimpleQueue()

    def hand_in(self, ended: Sequence[Ended]) -> None:
        if ended:
            self._ended.put(ended)

    def stop(self) -> None:
        """Record what was handed in, then end."""
        self._ended.put(None)

    def run(self) -> None:
        going, gathered = True, list[Ended]()
        while going or gathered:
            while going and len(gathered) < COMMIT_MOST and not (gathered and self._ended.empty()):
                more = self._ended.get()
                going = more is not None
                gathered += more or ()
            gathered, rest = gathered[:COMMIT_MOST], gathered[COMMIT_MOST:]
            ended, gathered = self._recorder.review(gathered), rest
            if ended:
                self._after(ended, self._insist(ended))
        self._recorder.close()

    def _insist(self, ended: Sequence[Ended]) -> Committed:
        """Record them, waiting out an outage.

        An output that cannot be recorded at all, say one that is no JSON, fails
        alone: its batch mates are recorded one by one.
        """
        try:
            return self._wait_out(ended)
        except Exception as error:
            log.exception("%d outcomes cannot be recorded together", len(ended))
            if len(ended) > 1:
                return Committed.union([self._insist([one]) for one in ended])
            said = f"its output cannot be recorded: {type(error).__name__}"
            failed = Output(ended[0].claim.task_id, failure=Failure("internal", said))
            return self._wait_out([Ended(ended[0].claim, failed)])

    def _wait_out(self, ended: Sequence[Ended]) -> Committed:
        meanwhile = f"{len(ended)} results wait in memory"
        return insist(lambda: self._recorder.record(ended), meanwhile=meanwhile)
