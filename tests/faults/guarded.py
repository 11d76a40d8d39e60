"""A Redis server as deploy/redis says: users by file, nobody else, and TLS in front of it.

The server in the wheel has no TLS built in, so a proxy ends it here; clients
and workers cannot tell.
"""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genfarm.redis_server import find_program, free_port
from tests.waiting import until

DEPLOY = Path(__file__).parents[2] / "deploy" / "redis"
USERS = ("producer", "worker", "flower")
#: One that may do anything, for the test to look with.
ADMIN = f"user admin on #{hashlib.sha256(b'admin').hexdigest()} ~* &* +@all\n"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server that is up."""

    port: int
    tls_port: int
    #: Certificate of the authority that signed the server's.
    ca: Path

    def url(self, user: str, *, tls: bool = False) -> str:
        """That user's URL; the password is the name."""
        name = user if user == "admin" else f"genfarm-{user}"
        if tls:
            return f"rediss://{name}:{user}@localhost:{self.tls_port}/0?ssl_ca_certs={self.ca}"
        return f"redis://{name}:{user}@127.0.0.1:{self.port}/0"


@contextmanager
def guarded_server(folder: Path) -> Iterator[Guarded]:
    """The server and its proxy, both gone afterwards."""
    make_certificates(folder)
    server = Guarded(free_port(), free_port(), folder / "ca.crt")
    rules = (DEPLOY / "users.acl").read_text(encoding="utf-8")
    for user in USERS:
        digest = hashlib.sha256(user.encode()).hexdigest()
        rules = rules.replace(f"#{user.upper()} ", f"#{digest} ")
    (folder / "users.acl").write_text(rules + ADMIN, encoding="utf-8")
    options = ["--port", str(server.port), "--bind", "127.0.0.1", "--save", ""]
    options += ["--aclfile", str(folder / "users.acl"), "--dir", str(folder)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([str(find_program()), *options], stdout=log, stderr=log)
    try:
        with _tls_front(server, folder):
            until(lambda: _answers(server.port) and _answers(server.tls_port))
            yield server
    finally:
        process.terminate()
        process.wait(10)


def make_certificates(folder: Path) -> None:
    """As deploy/redis/README.md shows, for localhost."""
    commands = _shell_block((DEPLOY / "README.md").read_text(encoding="utf-8"))
    commands = commands.replace("redis.example", "localhost")
    subprocess.run(["bash", "-e", "-c", commands], cwd=folder, check=True, capture_output=True)


def _shell_block(text: str) -> str:
    """The block that makes the certificates."""
    blocks = text.split("```")
    (found,) = [block for block in blocks if block.startswith("sh\nopenssl")]
    return found.removeprefix("sh\n")


@contextmanager
def _tls_front(server: Guarded, folder: Path) -> Iterator[None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "redis.crt", folder / "redis.key")
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_serve(server, context, stopped),)
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


async def _serve(server: Guarded, context: ssl.SSLContext, stopped: asyncio.Event) -> None:
    tasks: list[asyncio.Task[None]] = []
    sinks: list[asyncio.StreamWriter] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", server.port)
        sinks.extend((writer, onward))
        for source, sink in ((reader, onward), (there, writer)):
            tasks.append(asyncio.create_task(_pump(source, sink)))

    front = await asyncio.start_server(meet, "127.0.0.1", server.tls_port, ssl=context)
    await stopped.wait()
    front.close()
    for sink in sinks:
        sink.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.transport.abort()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
