"""Moves tasks through the worker: line → claim → engine → record → let go.

    Celery's thread   Intake.receive ─▶ offer ─▶ Batcher
    feeder            Batcher ─▶ Store.claim ─▶ EngineHost
    collector         EngineHost ─▶ RecorderThread (or buries a dead engine)
    recorder          Store.commit ─▶ Intake.acknowledge

Knows no model.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from genfarm_shared.errors import Unreachable
from genfarm_shared.store import Store
from genfarm_shared.store.working import Committed
from genfarm_shared.tasks import ALONE, Claim, Hint, State, TaskRecord
from genfarm_workers.batcher import Batch, Batcher
from genfarm_workers.engines import Output
from genfarm_workers.host import EngineHost
from genfarm_workers.intake import End, Intake
from genfarm_workers.recorder import Ended, Recorder, RecorderThread
from genfarm_workers.undertaker import Undertaker

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between two tries while the store is down.
PAUSE = 0.5
#: Seconds that the collector listens before it looks at the watchdog.
LISTEN = 0.2


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
        self._batcher = batcher
        self._recorder = RecorderThread(recorder, self._recorded)
        self._changed = threading.Condition()
        self._draining = False
        self._stopped = threading.Event()
        self._unrecorded = 0
        self._undertaker = Undertaker(store, intake.forget)
        intake.connect(self.offer, self.room, self._undertaker.lay_out)

    def start(self) -> None:
        """Start the engine and the threads."""
        self._host.start()
        self._recorder.start()
        self._undertaker.start()
        for work in (self._feed, self._collect):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def offer(self, hint: Hint) -> bool:
        """Take a hint into its line; False when it waits there already."""
        with self._changed:
            # While draining it stays un-acked in hand, and Celery puts it back at the end.
            taken = self._draining or self._batcher.admit(hint)
            self._changed.notify()
        return taken

    def room(self, model: str) -> int:
        """How many tasks of that model are wanted; none leaves them to other workers."""
        with self._changed:
            if self._draining or self._undertaker.is_behind():
                return 0
            return self._batcher.room(model)

    def report(self) -> dict[str, Any]:
        """What to say of this worker in its beat."""
        with self._changed:
            return {**self._host.report(), "waiting": self._batcher.waiting()}

    def drop_lost(self) -> None:
        """Take from the engine what the store no longer counts as ours: cancelled, or claimed
        by another after we were taken for dead."""
        before = self._host.in_hand()
        if not before:
            return
        mine = self._store.still_mine(self._worker_id)
        self._let_go(self._host.drop([task_id for task_id in before if task_id not in mine]))
        self._notify()

    def close(self) -> None:
        """Take nothing new."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def drain(self, timeout: float) -> None:
        """Let the engine finish, then give back what is left."""
        self.close()
        with self._changed:
            self._changed.wait_for(self._is_idle, timeout)
        self._stopped.set()
        self._notify()
        left = self._host.stop()
        self._recorder.stop()
        self._recorder.join(5.0)
        if left:
            self._store.release(left, "its worker was stopped")

    def _is_idle(self) -> bool:
        return not self._host.in_hand() and self._unrecorded == 0

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _feed(self) -> None:
        while not self._stopped.is_set():
            self._host.tell()
            with self._changed:
                batch = self._next_batch()
                if batch is None:
                    self._changed.wait(1.0)
                    continue
            claims = self._claim(batch)
            if claims:
                self._submit(claims)

    def _next_batch(self) -> Batch | None:
        if self._draining:
            return None
        return self._batcher.next_batch(self._host.rows_in_hand())

    def _claim(self, batch: Batch) -> list[Claim]:
        """The claims of a batch; what the store does not grant is let go."""
        task_ids = [hint.task_id for hint in batch.hints]
        claims = self._insist(lambda: self._store.claim(task_ids, self._worker_id))
        granted = {claim.task_id for claim in claims}
        self._let_go([task_id for task_id in task_ids if task_id not in granted], denied=True)
        # An old hint of a task that must now run alone, or one that lies about the model: the
        # row goes back, and comes again with a hint of its own.
        wrong = [c for c in claims if not _belongs(c, batch)]
        if wrong:
            self._give_back(wrong, "its message was out of date")
        return [claim for claim in claims if claim not in wrong]

    def _submit(self, claims: list[Claim]) -> None:
        """Hand claims to the engine, once it lives; a suspect also has it to itself."""
        self._intake.started(claims)
        while not self._host.submit(claims):
            if self._stopped.wait(PAUSE):
                self._give_back(claims, "its worker was stopped")
                return
        while claims[0].suspect and self._host.in_hand() and not self._stopped.is_set():
            with self._changed:
                self._changed.wait(LISTEN)

    def _collect(self) -> None:
        while not self._stopped.is_set():
            ended = self._host.receive(LISTEN)
            if ended is None:
                self._restart_engine()
            elif ended:
                with self._changed:
                    self._unrecorded += len(ended)
                    self._changed.notify_all()
                self._recorder.hand_in(ended)

    def _restart_engine(self) -> None:
        if self._stopped.is_set():
            return
        death = self._host.bury()
        log.error("engine lost with %d tasks in hand: %s", len(death.held), death.reason)
        self._insist(
            lambda: self._store.accuse(death.held, death.reason, was_killed=death.was_killed)
        )
        self._let_go([claim.task_id for claim in death.held])
        if not self._stopped.wait(self._host.pause_seconds()):
            self._host.start()
            self._notify()

    def _give_back(self, claims: Sequence[Claim], reason: str) -> None:
        self._insist(lambda: self._store.release(claims, reason))
        self._let_go([claim.task_id for claim in claims])

    def _recorded(self, ended: Sequence[Ended], committed: Committed) -> None:
        """On the recorder's thread: let go of what was recorded; the rest comes back by itself."""
        recorded = [one.output for one in ended if one.output.task_id in committed.recorded]
        self._intake.acknowledge([_end_of_output(output) for output in recorded])
        self._let_go([*committed.retried, *committed.fenced])
        if committed.fenced:
            log.warning("%d results refused: cancelled, or claimed since", len(committed.fenced))
        with self._changed:
            self._unrecorded -= len(ended)
            self._changed.notify_all()

    def _let_go(self, task_ids: Sequence[str], *, denied: bool = False) -> None:
        """Drop messages that are not ours to run; the store says how their tasks stand.

        A worker that died between its commit and its events is made up for
        here: its messages come to another worker, which finds the rows ended.
        """
        if task_ids:
            records = self._insist(lambda: self._store.read_tasks(task_ids))
            if denied:  # not for us, since this worker ends; its messages are for the others
                waiting = {r.id for r in records if r.state in (State.PENDING, State.QUEUED)}
                task_ids = [task_id for task_id in task_ids if task_id not in waiting]
            ends = {r.id: _end_of_record(r) for r in records if r.id in set(task_ids)}
            unknown = [End(i, State.CANCELLED) for i in task_ids if i not in ends]
            self._intake.acknowledge([*ends.values(), *unknown])

    def _insist(self, work: Callable[[], T]) -> T:
        """Do it, waiting out a store that is down."""
        failing = False
        while True:
            try:
                return work()
            except Unreachable as error:
                if not failing:
                    log.warning("waiting: %s", error)
                failing = True
                time.sleep(PAUSE)


def _belongs(claim: Claim, batch: Batch) -> bool:
    """Whether the row says what its message said: the model, and the group of a suspect."""
    if claim.suspect is not None:
        return batch.batch_key == f"{ALONE}{claim.suspect}"
    return claim.model == batch.model and not batch.is_alone


def _end_of_output(output: Output) -> End:
    if output.failure is not None:
        said = f"{output.failure.code}: {output.failure.message}"
        return End(output.task_id, State.FAILED, said)
    return _succeeded(output.task_id, output.metrics)


def _end_of_record(record: TaskRecord) -> End:
    if record.state is State.SUCCEEDED:
        return _succeeded(record.id, record.metrics)
    return End(record.id, record.state, f"{record.reason_code}: {record.reason}")


def _succeeded(task_id: str, metrics: Mapping[str, Any]) -> End:
    said = f"ok · batch of {metrics.get('batch_size', 1)}"
    return End(task_id, State.SUCCEEDED, said, metrics.get("engine_seconds"))
