"""A TCP proxy on loopback that can be cut, slowed or made to swallow what passes.

Runs on a thread of its own. Knows no protocol.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

from genfarm.redis_server import LOOPBACK

#: Bytes moved at once.
BLOCK = 65_536


class Proxy:
    """Forwards connections to one port of this host. Thread-safe."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        #: Seconds that each block of bytes waits.
        self.delay = 0.0
        #: New connections are closed at once.
        self.is_cut = False
        #: Raised by `swallow`: connections made under a lower number forward nothing.
        self._generation = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, LOOPBACK, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until `is_cut` is False again."""
        self.is_cut = True
        self._call(self._reset())

    def swallow(self) -> int:
        """Forward nothing more on the connections there are, and close none: half-open TCP.

        New connections work. Returns how many it struck.
        """
        self._generation += 1
        return len(self._writers) // 2

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, upstream[1]}
        self._writers |= pair
        generation = self._generation
        ways = [
            asyncio.ensure_future(self._forward(reader, upstream[1], generation)),
            asyncio.ensure_future(self._forward(upstream[0], writer, generation)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        self._writers -= pair
        for end in pair:
            end.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generation: int
    ) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if generation == self._generation:
                    writer.write(block)
                    await writer.drain()

    async def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
