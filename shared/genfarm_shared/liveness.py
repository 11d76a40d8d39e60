"""Whether a process that named itself here still lives.

A lease takes seconds to run out; for a process of the same machine the system
knows at once. A name holds the boot, the pid namespace and the start time, so
that no reused pid, no other host and no other container is taken for it.
Linux only: elsewhere a name is empty and nobody is ever said to be gone.
"""

import os
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


def name_process() -> str:
    """What `is_gone` recognises this process by; empty where the system cannot say."""
    if not _machine():
        return ""
    try:
        return f"{_machine()} {os.getpid()} {_started(os.getpid())}"
    except PermissionError:
        return ""


def is_gone(name: str) -> bool:
    """Whether that process ran here and has ended; False also for "cannot know"."""
    machine, _, rest = name.partition(" ")
    if not machine or machine != _machine():
        return False
    pid, _, started = rest.partition(" ")
    try:
        return _started(int(pid)) != started
    except PermissionError:  # hidden from us, so it is there
        return False


def ran_here(name: str) -> bool:
    """Whether that process ran under this boot of this kernel, in whatever container."""
    boot = name.partition("/")[0]
    return bool(boot) and boot == _machine().partition("/")[0]


@lru_cache(maxsize=1)
def _machine() -> str:
    """This boot of this kernel, and the namespace in which our pids count."""
    try:
        if str((_PROC / "self").readlink()) != str(os.getpid()):
            return ""  # this /proc is of another namespace, and our pid a stranger's in it
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Start time of a live process in clock ticks since the boot, empty for one that has ended.

    See proc_pid_stat(5); the second field may hold spaces. A zombie has ended:
    only its exit code waits for its parent.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        # With hidepid a stranger's process is not in /proc, but it can be asked for.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        raise PermissionError from None
    return "" if fields[0] in "ZX" else fields[19]
