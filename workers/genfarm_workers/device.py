"""Pins an engine process to one device, and probes it. Imports no torch."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from genfarm_shared.errors import InvalidSetting
from genfarm_workers.spawn import Pin, spell

#: Seconds that a probe may take: the import of torch from a slow disk, and CUDA's start.
PROBE_SECONDS = 60.0
#: Probes that fail in a row before the device counts as sick.
PROBES = 3
#: Seconds between those.
PROBE_PAUSE = 2.0
#: Characters of a failed probe's last line that are kept.
_SAID = 200


def list_gpus() -> list[str]:
    """UUIDs of this machine's NVIDIA GPUs in PCI order, [] where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=uuid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("GPU-")]


def pin(device: str, threads: int) -> Pin:
    """Where `device` (`auto`, `cpu`, `cuda`, `cuda:<index>`, a GPU or MIG uuid) is.

    The environment hides every other GPU, so that a mistake inside the engine
    cannot reach one. Raises InvalidSetting for a name of no device.
    """
    if device == "auto":
        device = "cuda:0" if list_gpus() else "cpu"
    if device == "cpu":
        return Pin("cpu", {"CUDA_VISIBLE_DEVICES": ""}, threads)
    name = device.removeprefix("cuda").removeprefix(":") or "0"
    if not name.isdecimal() and not name.startswith(("GPU-", "MIG-")):
        raise InvalidSetting(
            f"GENFARM_DEVICE={device!r} is no device; expected auto, cpu, cuda:<index>, "
            "GPU-<uuid> or MIG-<uuid>"
        )
    # Without PCI order, CUDA numbers the fastest card 0 and nvidia-smi another.
    visible = {"CUDA_VISIBLE_DEVICES": name, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return Pin("cuda", visible, threads)


def name_device(pin: Pin) -> str:
    """What devices have in common that run alike: a GPU's name, or a processor and threads."""
    if pin.device == "cpu":
        return f"cpu:{_processor()}x{pin.threads or os.cpu_count()}"
    return _ask(pin, "name") or "cuda"


def memory_of(pin: Pin) -> int | None:
    """Bytes of memory that the device has, None where it does not tell."""
    if pin.device == "cpu":
        return int(psutil.virtual_memory().total)
    mebibytes = _ask(pin, "memory.total")
    return int(mebibytes) * 2**20 if mebibytes.isdecimal() else None


def _ask(pin: Pin, what: str) -> str:
    """A fact of one GPU, empty where there is none: nvidia-smi knows no MIG uuid."""
    tool, name = shutil.which("nvidia-smi"), pin.environment["CUDA_VISIBLE_DEVICES"]
    if tool is None or name.startswith("MIG-"):
        return ""
    command = [tool, f"--id={name}", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    """The processor's name; its architecture where the system keeps it to itself."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


class Prober:
    """Probes one device, each time in a new process. For one thread."""

    def __init__(self, pin: Pin, reprobe_seconds: float, drill: str = "") -> None:
        """`drill` is a file while which exists the device counts as sick."""
        self._pin = pin
        self._reprobe_seconds = reprobe_seconds
        self._command = [sys.executable, "-m", "genfarm_workers.probe", "--device", pin.device]
        self._command += ["--drill", drill] if drill else []
        self._failed = 0

    def probe(self) -> str | None:
        """What is wrong with the device, None where nothing is."""
        fault = _run(self._command, self._pin)
        self._failed = 0 if fault is None else self._failed + 1
        return fault

    @property
    def is_sick(self) -> bool:
        """Whether so many probes have failed that no task should wait for the next."""
        return self._failed >= PROBES

    def pause_seconds(self) -> float:
        """How long to wait before the next."""
        return self._reprobe_seconds if self.is_sick else min(PROBE_PAUSE, self._reprobe_seconds)


def _run(command: list[str], pin: Pin) -> str | None:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=pin.variables(),
    )
    try:
        _, said = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        # Not waited for without end, as `subprocess.run` does: a sick driver may keep it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=PROBE_PAUSE)
        return f"the device did not answer within {PROBE_SECONDS:.0f} s"
    if process.returncode == 0:
        return None
    last = said.strip().rpartition("\n")[2][:_SAID]
    return f"the probe of the device {spell(process.returncode)}: {last or 'it said nothing'}"
