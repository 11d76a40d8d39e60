"""`python -m genfarm.torture.submitter`: submits a job and kills itself half-way."""

import json
import os
import signal
import sys

from genfarm.torture.driver import Faltering, open_farm
from genfarm_shared.settings import Settings


class _Deadly(Faltering):
    def break_off(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Read what to submit from stdin."""
    told = json.load(sys.stdin)
    with open_farm(Settings.load()) as farm:
        farm.submit_many("drill", _Deadly(told["inputs"]), model="drill", name=told["name"])


if __name__ == "__main__":
    main()
