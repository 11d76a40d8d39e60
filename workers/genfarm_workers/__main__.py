"""`python -m genfarm_workers`: start one Celery worker the way the farm wants it."""

import argparse
import os
import socket
import sys

from genfarm_shared.errors import GenfarmError
from genfarm_shared.exits import REFUSED
from genfarm_shared.settings import Settings


def main() -> None:
    """Become `celery -A genfarm_workers.app worker` for one device."""
    parser = argparse.ArgumentParser(prog="python -m genfarm_workers", description=__doc__)
    parser.add_argument("--node", default="", help="node name; default: device@host")
    parser.add_argument("--device", help="auto, cpu, cuda:<index>, GPU-<uuid>, MIG-<uuid>")
    parser.add_argument("--models", help="registry keys to serve, comma-separated; default: all")
    given = parser.parse_args()
    if given.device:
        os.environ["GENFARM_DEVICE"] = given.device
    if given.models:
        os.environ["GENFARM_MODELS"] = given.models
    try:
        command = celery_command(given.node or (given.device or "auto").replace(":", ""))
    except GenfarmError as error:  # all that can be wrong here is a setting
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(REFUSED) from None
    os.execv(sys.executable, command)


def celery_command(node: str) -> list[str]:
    """The command line that is run; gossip and mingle only add start-up time."""
    name = node if "@" in node else f"{node}@{socket.gethostname()}"
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", Settings.load().log_level]
    celery = [sys.executable, "-m", "celery", "-A", "genfarm_workers.app"]
    return [*celery, "worker", "-n", name, *quiet]


if __name__ == "__main__":
    main()
