"""Dramatiq's part in a benchmark: `with_dramatiq.py fill URL TOTAL`, `with_dramatiq.py work URL`.

One process with eight threads, its own default; results are kept in the next
database of the same Redis. Imports nothing of the farm.
"""

import sys
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend


def main(part: str, url: str, total: str = "0") -> None:
    broker = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=f"{url[:-1]}1")))
    dramatiq.set_broker(broker)

    @dramatiq.actor(queue_name="bench", store_results=True)  # type: ignore[untyped-decorator]
    def pause() -> int:
        return 0

    if part == "fill":
        for _ in range(int(total)):
            pause.send()
    else:
        dramatiq.Worker(broker, worker_threads=8).start()
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
