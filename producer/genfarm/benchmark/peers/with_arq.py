"""ARQ's part in a benchmark: `with_arq.py fill URL TOTAL` and `with_arq.py work URL`.

One process and its event loop; results are kept in Redis. Imports nothing of the farm.
"""

import asyncio
import sys
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker


async def pause(_context: dict[str, Any]) -> int:
    return 0


async def fill(url: str, total: int) -> None:
    pool = await create_pool(RedisSettings.from_dsn(url))
    for _ in range(total):
        await pool.enqueue_job("pause")


async def work(url: str) -> None:
    settings = RedisSettings.from_dsn(url)
    worker = Worker([pause], redis_settings=settings, max_jobs=100, poll_delay=0.01)
    await worker.async_run()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(work(sys.argv[2]))
