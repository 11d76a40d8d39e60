"""Whether a process still runs: the question that many tests end with."""

import psutil


def lives(process: psutil.Process) -> bool:
    """A zombie has ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False
