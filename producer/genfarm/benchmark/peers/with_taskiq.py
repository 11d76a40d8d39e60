"""Taskiq's part in a benchmark: `with_taskiq.py fill URL TOTAL` and `with_taskiq.py work URL`.

One process and its event loop; results are kept in the next database of the
same Redis. Imports nothing of the farm.
"""

import asyncio
import sys

from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend


async def main(part: str, url: str, total: str = "0") -> None:
    results = RedisAsyncResultBackend(f"{url[:-1]}1")
    broker = ListQueueBroker(url, queue_name="bench").with_result_backend(results)

    @broker.task(task_name="bench.pause")  # type: ignore[untyped-decorator]  # not installed here
    async def pause() -> int:
        return 0

    await broker.startup()
    if part == "fill":
        for _ in range(int(total)):
            await pause.kiq()
        await broker.shutdown()
    else:
        await run_receiver_task(broker, max_async_tasks=100, max_prefetch=100)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
