"""RQ's part in a benchmark: `with_rq.py fill URL TOTAL` and `with_rq.py work URL`.

A SimpleWorker, which forks no process for a task and is its fastest; results are
kept in Redis. Imports nothing of the farm.
"""

import sys

from redis import Redis
from rq import Queue, SimpleWorker


def main(part: str, url: str, total: str = "0") -> None:
    queue = Queue("bench", connection=Redis.from_url(url))
    if part == "fill":
        queue.enqueue_many([Queue.prepare_data(abs, args=(0,)) for _ in range(int(total))])
    else:
        SimpleWorker([queue], connection=queue.connection).work(logging_level="ERROR")


if __name__ == "__main__":
    main(*sys.argv[1:])
