"""`python -m genfarm.torture.submitter`: submits a job and kills itself half-way."""

import json
import os
import signal
import sys

from genfarm.farm import Farm
from genfarm.torture.driver import Faltering


class _Deadly(Faltering):
    def break_off(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Read what to submit from stdin."""
    told = json.load(sys.stdin)
    with Farm(*told["address"], progress=False) as farm:
        farm.submit_many("drill", _Deadly(told["inputs"]), model="drill", name=told["name"])


if __name__ == "__main__":
    main()
