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
    settings = Settings.load()
    with open_farm(settings, _Deadly(settings.store_url)) as farm:
        farm.submit_many("drill", told["inputs"], model="drill", name=told["name"])


if __name__ == "__main__":
    main()
