"""Huey's part in a benchmark: `with_huey.py fill URL TOTAL` and `with_huey.py work URL`.

Results are kept in Redis; threads, which for tasks of no work beat processes.
Imports nothing of the farm.
"""

import sys

from huey import RedisHuey


def main(part: str, url: str, total: str = "0") -> None:
    huey = RedisHuey("bench", url=url, store_none=True)

    @huey.task()  # type: ignore[untyped-decorator]  # huey has no types
    def pause() -> int:
        return 0

    if part == "fill":
        for _ in range(int(total)):
            pause()
    else:
        huey.create_consumer(workers=4, periodic=False, initial_delay=0.01).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
