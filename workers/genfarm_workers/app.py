"""What `celery -A genfarm_workers.app worker` loads.

The only module that is configured on import, because Celery finds its
application that way; it connects to nothing until the worker starts.
"""

import logging
import os
import signal
import sys
import threading
from functools import partial
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state as celery_state

from genfarm_shared.errors import GenfarmError, InvalidSetting, Unreachable
from genfarm_shared.exits import REFUSED
from genfarm_shared.queue import Broker, make_app
from genfarm_shared.settings import Settings
from genfarm_workers.catalog import choose, read_catalog
from genfarm_workers.intake import Generate, Intake
from genfarm_workers.lasting import set_aside
from genfarm_workers.node import Node, new_worker_id
from genfarm_workers.transport import connection_class

log = logging.getLogger(__name__)

#: Seconds that a stopping worker waits for its last events and acknowledgements to be sent;
#: they take milliseconds unless Redis is away.
SETTLE_SECONDS = 0.5


class NodeStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Starts the farm's side of the worker before Celery takes its first message."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_options: Any) -> None:
        self._node: Node = worker.app.node
        self._intake: Intake = worker.app.intake
        self._give_back = worker.app.give_back

    def start(self, worker: Any) -> None:
        try:
            self._node.start(worker.hostname)
        except GenfarmError as error:
            log.critical("worker does not start: %s", error)
            raise SystemExit(REFUSED if isinstance(error, InvalidSetting) else 5) from error
        # Celery's own warm shutdown closes the connection first; ours lets running batches
        # end, and their messages be acknowledged, while the connection is still there.
        signal.signal(signal.SIGTERM, self._on_term)

    def stop(self, worker: Any) -> None:
        """Celery has stopped taking by now, so nothing is left behind in the worker's hands."""
        self._node.drain()
        self._give_back()

    def _on_term(self, _signum: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, self._on_second_term)
        threading.Thread(target=self._drain, name="drain").start()

    def _on_second_term(self, _signum: int, _frame: object) -> None:
        os._exit(128 + signal.SIGTERM)  # its lease runs out, and its tasks go to others

    def _drain(self) -> None:
        try:
            self._node.drain()
            self._intake.settle(SETTLE_SECONDS)
        finally:
            celery_state.should_stop = 0


def make_worker_app(settings: Settings) -> Celery:
    """The Celery application of one worker process."""
    if not settings.broker:
        raise InvalidSetting(
            "GENFARM_BROKER is not set: a worker needs the farm's broker, such as "
            "redis://host:6379/0; for a farm on this machine alone run `genfarm up`"
        )
    catalog = choose(read_catalog(settings.registry_path), settings.models)
    intake = Intake(catalog)
    worker_id = new_worker_id()
    app = make_app(settings.broker, list(catalog), worker_id=worker_id)
    # No pool runs tasks; and nothing but the lines of the batcher bounds what is taken in.
    app.conf.update(worker_pool="solo", worker_concurrency=1, worker_prefetch_multiplier=0)
    app.amqp.Connection = connection_class(intake)
    app.register_task(Generate(intake))
    app.intake = intake
    app.node = Node(settings, worker_id, catalog, intake)
    app.give_back = partial(_give_back, settings.broker, worker_id)
    app.steps["worker"].add(NodeStep)
    return app


def _give_back(url: str, worker_id: str) -> None:
    broker = Broker(url)
    try:
        broker.restore(worker_id)
    except Unreachable as error:  # another worker's keeper does it once Redis is there again
        log.warning("the messages of %s are given back later: %s", worker_id, error)
    finally:
        broker.close()


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def _settle(**_options: Any) -> None:
    set_aside()


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # celery has no types
def _set_up_logging(loglevel: int = logging.INFO, **_options: Any) -> None:
    logging.basicConfig(
        level=loglevel, format="%(asctime)s %(levelname)-7s %(name)s %(message)s", force=True
    )


def _load() -> Celery:
    """The application, or one line that says what is wrong: Celery would print a traceback."""
    try:
        return make_worker_app(Settings.load())
    except GenfarmError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(REFUSED if isinstance(error, InvalidSetting) else 1) from None


app = _load()
