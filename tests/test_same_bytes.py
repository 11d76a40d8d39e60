"""Same seed, same bytes: alone, among batch mates, and after a worker's death.

`python -m tests.test_same_bytes 32` runs it on as many tasks of each kind.
"""

import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from genfarm import Farm, Job

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def requests(number: int) -> dict[str, list[dict[str, object]]]:
    """Tasks of both kinds with parameters of their own."""
    return {
        "text-generation": [
            {
                "prompt": ("Once upon a time", "The old captain", "One rainy morning in")[i % 3],
                "max_new_tokens": 12 + i % 20,
                "temperature": (0.0, 0.7, 1.3)[i % 3],
                "top_p": (1.0, 0.9)[i % 2],
                "seed": 1000 + i,
            }
            for i in range(number)
        ],
        "text-to-image": [
            {"prompt": f"a handwritten {NUMBERS[i % 10]}", "steps": 4, "seed": 2000 + i}
            for i in range(number)
        ],
    }


def contents(jobs: list[Job]) -> list[object]:
    """Texts, and the hashes of the pictures' files, in the order asked for."""
    found: list[object] = []
    for job in jobs:
        for result in job.wait().results(ordered=True, errors="raise"):
            found.append([*result.texts, *(artifact.sha256 for artifact in result.artifacts)])
    return found


def compare(home: Path, number: int) -> int:
    """Run the tasks three ways; fail unless all agree. Returns the attempts that were lost."""
    asked = requests(number)
    with Farm.local(workers=2, home=home, flower=False, progress=False) as farm:
        alone = contents(
            [
                farm.submit_many(kind, [values], on_conflict="new").wait()
                for kind, inputs in asked.items()
                for values in inputs
            ]
        )
        together = [farm.submit_many(k, v, on_conflict="new") for k, v in asked.items()]
        assert contents(together) == alone
        store = farm._link.store
        mates = [farm.submit_many(k, v * 3, on_conflict="new") for k, v in asked.items()]
        _kill_at_work(farm)
        again = contents(mates)
        texts, pictures = again[: 3 * number], again[3 * number :]
        assert texts == alone[:number] * 3
        assert pictures == alone[number:] * 3
        return store.count_attempts([job.id for job in mates]).get("lost", 0)


def _kill_at_work(farm: Farm) -> None:
    """Kill a worker that holds claims. It is frozen first: a look alone is out of date at once."""
    for worker in itertools.cycle(farm.workers()):
        os.kill(worker.pid, signal.SIGSTOP)
        if farm._link.store.still_mine(worker.id):
            os.kill(worker.pid, signal.SIGKILL)
            return
        os.kill(worker.pid, signal.SIGCONT)


@pytest.mark.timeout(240)
def test_a_task_has_the_same_bytes_alone_in_a_batch_and_after_a_kill(tmp_path: Path) -> None:
    assert compare(tmp_path, 4) > 0


if __name__ == "__main__":
    tasks = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        lost = compare(Path(folder), tasks)
    sys.stdout.write(
        f"{tasks} texts and {tasks} pictures: the same alone, in batches, and after a SIGKILL "
        f"that cost {lost} attempts\n"
    )
