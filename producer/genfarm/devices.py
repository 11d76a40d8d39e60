"""Which workers a host can seat: one a GPU, or a few that share the CPU.

Asks `nvidia-smi`, never torch, so that the command line stays light.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Workers on a host without GPU: one can be killed and the farm goes on.
CPU_WORKERS = 2
#: Seconds that `nvidia-smi` may take; a hung driver must not hang the farm.
ASK_SECONDS = 10.0

Count = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one worker."""

    #: Its Celery node name without the host.
    node: str
    #: What `genfarm worker --device` takes.
    device: str
    #: CPU threads of its engine.
    threads: int

    def command(self, python: str) -> list[str]:
        return [python, "-P", "-m", "genfarm_workers", "--node", self.node, "--device", self.device]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with the threads that keep neighbours from fighting over the cores."""
        threads = str(self.threads)
        ours = {
            "GENFARM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            # Two busy-waiting OpenMP threads under load were 1.5 to 5 times slower than one.
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        return {**base, **ours}


def seat_workers(count: Count, environment: Mapping[str, str], threads: int = 0) -> list[Seat]:
    """The seats of this host for that many workers.

    With GPUs, `auto` is one a GPU and a larger number shares them; `threads` 0 divides
    the cores.
    """
    gpus = find_gpus(environment)
    number = (len(gpus) or CPU_WORKERS) if count == "auto" else count
    share = threads or max(1, (os.cpu_count() or 1) // max(number, 1))
    name = "gpu" if gpus else "cpu"
    return [
        Seat(f"{name}{index}", gpus[index % len(gpus)] if gpus else "cpu", share)
        for index in range(number)
    ]


def find_gpus(environment: Mapping[str, str]) -> list[str]:
    """Uuids of the GPUs that `environment` lets a process see."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = [line.strip() for line in answer.stdout.splitlines() if line.startswith("GPU-")]
    return _visible(found, environment.get("CUDA_VISIBLE_DEVICES"))


def _visible(gpus: list[str], allowed: str | None) -> list[str]:
    if allowed is None:
        return gpus
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    by_name = {str(index): gpu for index, gpu in enumerate(gpus)}
    # A MIG uuid is not in the list of GPUs and stands for itself.
    return [by_name.get(name, name) for name in names if name in by_name or "-" in name[1:]]
