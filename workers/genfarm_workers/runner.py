"""Moves tasks through the worker: line → claim → engine → record → let go.

    Celery's thread   Intake.receive ─▶ offer ─▶ Batcher
    feeder            Batcher ─▶ Store.claim ─▶ EngineHost
    collector         EngineHost ─▶ RecorderThread; buries a dead engine and starts the next
    recorder          Store.commit ─▶ Intake.acknowledge

What a dead engine's tasks have to expect is said in `verdict.py`, which models
are left alone for now in `bench.py`, how the next engine starts in `reviver.py`,
and how tasks are given back in `returns.py`. Knows no model.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import ALONE, Claim, Hint
from genfarm_workers.attaching import Attacher
from genfarm_workers.batcher import Batch, Batcher
from genfarm_workers.ends import end_of_output
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import Intake
from genfarm_workers.patience import PAUSE, insist, softly
from genfarm_workers.recorder import Ended, Recorder, RecorderThread
from genfarm_workers.returns import Returns
from genfarm_workers.reviver import Reviver
from genfarm_workers.undertaker import Undertaker
from genfarm_workers.verdict import Verdict, is_homeless, judge, turn_away

log = logging.getLogger(__name__)

#: Seconds that the collector listens before it looks at the watchdog.
LISTEN = 0.2
#: Why a task that was not ready in time goes on elsewhere.
STOPPED = "its worker was stopped"
#: Seconds beyond the end of a drain that each thread gets to put down what it carries.
PUT_DOWN = 0.2


class Runner:
    """The three threads between a worker's messages and its engine."""

    def __init__(
        self,
        worker_id: str,
        store: Store,
        intake: Intake,
        host: EngineHost,
        batcher: Batcher,
        recorder: Recorder,
    ) -> None:
        self._worker_id = worker_id
        self._store = store
        self._intake = intake
        self._host = host
        self._bench, self._gates = host.bench, recorder.gates
        self._ledger = host.ledger
        self._residency = host.residency
        self._batcher = batcher
        self._returns = Returns(store, intake)
        self._attacher = Attacher(recorder.artifacts)
        self._recorder = RecorderThread(recorder, self._recorded)
        self._changed = threading.Condition()
        self._draining = False
        self._stopped = threading.Event()
        self._unrecorded = 0
        #: The feeder has claims that no engine has; the collector has some that left one.
        self._is_feeding = self._is_sorting = False
        self._reviver = Reviver(host, self._stopped, self.notify)
        self._undertaker = Undertaker(store, intake.forget)
        self._threads = [
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True)
            for work in (self._feed, self._collect)
        ]
        intake.connect(self.offer, self.room, self._undertaker.lay_out)

    def start(self) -> None:
        """Start the engine and the threads."""
        self._host.start()
        self._recorder.start()
        self._undertaker.start()
        for thread in self._threads:
            thread.start()

    def offer(self, hints: Sequence[Hint]) -> list[str]:
        """Take hints into their lines; returns the ids that wait there already."""
        for model in {hint.model for hint in hints}:
            self._residency.arrive(model)
        now = time.monotonic()
        with self._changed:
            if not hints or self._draining:  # a drain leaves them un-acked, for Celery to put back
                return []
            doubles = [hint.task_id for hint in hints if not self._batcher.admit(hint, now)]
            self._ledger.note(wait=True)
            self._changed.notify()
        return doubles

    def room(self, model: str) -> int:
        """How many tasks of that model are wanted; none leaves them to other workers."""
        with self._changed:
            closed = self._draining or self._undertaker.is_behind() or self._bench.is_closed(model)
            # An engine that is still starting would keep them from those that run.
            is_shut = closed or not self._host.is_ready()
            room = 0 if is_shut else self._batcher.room(model)
            return self._residency.allow(model, room, self._has_nothing)

    def report(self) -> dict[str, Any]:
        """What to say of this worker in its beat."""
        with self._changed:
            return {**self._host.report(), "waiting": self._batcher.waiting()}

    def look_around(self) -> None:
        """Take from the engine what the store no longer counts as ours: cancelled, or claimed
        by another after we were taken for dead. And see who else could load what we cannot."""
        if not self._bench.is_quiet():
            self._look_at_others()
        before = self._host.in_hand()
        if not before:
            return
        mine = self._store.still_mine(self._worker_id)
        self._returns.let_go(
            self._host.drop([task_id for task_id in before if task_id not in mine])
        )
        self.notify()

    def aim(self, task_ids: Sequence[str]) -> None:
        """Have the engine tell of those tasks, which somebody watches, and of no others."""
        if self._host.gaze.aim(task_ids):
            self.notify()

    def notify(self) -> None:
        """Have every thread look at what there is to do."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing new."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def drain(self, timeout: float) -> None:
        """Let the engine finish, then give back what is left.

        What cannot be given back in time, because the store is down say, is reaped.
        """
        until = time.monotonic() + timeout
        self.close()
        with self._changed:
            self._changed.wait_for(self._is_idle, max(timeout, 0.0))
        self._stopped.set()
        self.notify()
        left = self._host.stop()
        if left:
            softly("give back what it held", lambda: self._store.release(left, STOPPED))
        self._put_down(until)

    def _put_down(self, until: float) -> None:
        """Have each thread give back, or hand on, what it carries; the recorder is the last."""
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0) + PUT_DOWN)
        self._recorder.stop()
        self._recorder.join(max(until - time.monotonic(), 0.0) + PUT_DOWN)

    def _look_at_others(self) -> None:
        self._bench.look(self._store.list_workers(), self._worker_id)

    def _is_idle(self) -> bool:
        carried = self._unrecorded or self._is_feeding or self._is_sorting
        return not (carried or self._host.in_hand())

    def _feed(self) -> None:
        while not self._stopped.is_set():
            self._host.tell()
            with self._changed:
                unwanted = self._batcher.shed(self._is_unwanted)
                batch = None if unwanted else self._next_batch()
                self._is_feeding = batch is not None
                is_waiting = batch is not None or self._batcher.waiting() > 0
                self._ledger.note(wait=is_waiting)
                if batch is None and not unwanted:
                    self._changed.notify_all()
                    self._changed.wait(1.0)
            if unwanted:
                self._returns.leave(unwanted)
            elif batch is not None:
                self._submit(self._claim(batch))

    def _has_nothing(self) -> bool:
        return not (self._batcher.waiting() or self._host.is_busy())

    def _is_unwanted(self, model: str) -> bool:
        """Whether its tasks are left to other workers, or to a better time."""
        return self._bench.is_closed(model) or not self._residency.is_open(model)

    def _next_batch(self) -> Batch | None:
        if self._draining or not self._host.is_up():
            return None
        return self._batcher.next_batch(self._host.rows_in_hand(), time.monotonic())

    def _claim(self, batch: Batch) -> list[Claim]:
        """The claims of a batch; what the store does not grant is let go."""
        task_ids = [hint.task_id for hint in batch.hints]
        self._ledger.note(database=True)
        claims = insist(lambda: self._store.claim(task_ids, self._worker_id))
        self._ledger.note(database=False)
        granted = {claim.task_id for claim in claims}
        denied = [task_id for task_id in task_ids if task_id not in granted]
        if denied:  # it may have been too late for them, which the next round would write down
            insist(self._store.expire)
        self._returns.let_go(denied)
        # An old hint of a task that must now run alone, or one that lies about the model: the
        # row goes back, and comes again with a hint of its own.
        wrong = [c for c in claims if not _belongs(c, batch)]
        if not wrong:
            return claims
        self._returns.give_back(wrong, "its message was out of date")
        return [claim for claim in claims if _belongs(claim, batch)]

    def _submit(self, claims: list[Claim]) -> None:
        """Hand claims to the engine, once it lives; a suspect also has it to itself."""
        verdict = turn_away(claims, self._bench, self._gates)
        claims, unfit = self._attacher.attach(verdict.returned)
        if verdict.ended or unfit:  # no engine needs to say it again
            self._record([*verdict.ended, *unfit])
        if not claims:
            return
        self._intake.started(claims)
        while not self._host.submit(claims):
            is_closed = self._draining or self._bench.is_closed(claims[0].model)
            if is_closed or self._stopped.wait(PAUSE):
                self._returns.give_back(claims, "its worker has no engine for it")
                return
        while claims[0].suspect and self._host.in_hand() and not self._stopped.is_set():
            self._host.tell()
            with self._changed:
                self._changed.wait(LISTEN)

    def _collect(self) -> None:
        was_ready = False
        while not self._stopped.is_set():
            ended = self._host.receive(LISTEN)
            is_ready = self._host.is_ready()
            if is_ready and not was_ready:
                self._intake.wake()
            was_ready = is_ready
            if ended is None:
                self._replace_engine()
            elif ended:
                self._sort(ended)

    def _sort(self, ended: Sequence[Ended]) -> None:
        """Have ended tasks recorded; those that only this worker could not run go elsewhere."""
        homeless = [one.claim for one in ended if is_homeless(one)]
        if not homeless:
            self._record(ended)
        else:
            log.warning("%d tasks of a model that cannot be loaded here", len(homeless))
            self._is_sorting = True
            insist(self._look_at_others)
            self._execute(turn_away(homeless, self._bench), "its model cannot be loaded here")
            self._is_sorting = False
            self._record([one for one in ended if not is_homeless(one)])

    def _record(self, ended: Sequence[Ended]) -> None:
        with self._changed:
            self._unrecorded += len(ended)
            self._changed.notify_all()
        self._recorder.hand_in(ended)

    def _replace_engine(self) -> None:
        if self._stopped.is_set():
            return
        self._is_sorting = True
        death = self._host.bury()
        log.error("engine lost with %d tasks in hand: %s", len(death.held), death.reason)
        fault = self._reviver.diagnose(death)
        if death.loading is not None and fault is None:
            self._bench.blame(death.loading, f"{death.reason} while it loaded {death.loading}")
            insist(self._look_at_others)
        self._execute(judge(death, fault, self._bench), death.reason)
        self._is_sorting = False
        self.notify()
        self._reviver.revive(fault)

    def _execute(self, verdict: Verdict, reason: str) -> None:
        """Write down what becomes of tasks, and let go of their messages."""
        self._record(verdict.ended)
        if verdict.returned:
            self._returns.give_back(verdict.returned, reason)
        if verdict.suspects:
            lenient = verdict.is_lenient
            self._returns.suspect(verdict.suspects, reason, is_lenient=lenient)

    def _recorded(self, ended: Sequence[Ended], committed: Committed) -> None:
        """On the recorder's thread: let go of what was recorded; the rest comes back by itself."""
        recorded = [one.output for one in ended if one.output.task_id in committed.recorded]
        self._intake.acknowledge([end_of_output(output) for output in recorded])
        self._returns.let_go([*committed.retried, *committed.fenced])
        if committed.fenced:
            log.warning("%d results refused: cancelled, or claimed since", len(committed.fenced))
        with self._changed:
            self._unrecorded -= len(ended)
            self._changed.notify_all()


def _belongs(claim: Claim, batch: Batch) -> bool:
    """Whether the row says what its message said: the model, and the group of a suspect."""
    if claim.suspect is not None:
        return batch.batch_key == f"{ALONE}{claim.suspect}"
    return claim.model == batch.model and not batch.is_alone
