"""Pins an engine process to one device, before it starts. Imports no torch."""

import shutil
import subprocess

from genfarm_shared.errors import InvalidSetting
from genfarm_workers.host import Pin


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
